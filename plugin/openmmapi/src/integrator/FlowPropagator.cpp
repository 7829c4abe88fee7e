#include "FlowPropagator.h"
#include <cmath>

namespace KStep {

FlowPropagator::FlowPropagator(const LevelSchedule::Table &table, const LevelSchedule &schedule,
                               const KStepIntegrator &integrator, OpenMM::ContextImpl &context,
                               PropagationKernel &kernel, Evaluator &evaluator, Statistics &statistics)
    : table(table), schedule(schedule), integrator(integrator), context(context), kernel(kernel), evaluator(evaluator),
      statistics(statistics) {
    for (const LevelSchedule::Due &due : table.front())
        hasSlowForces |= schedule.isCommon(due.slot) && due.weight > 1;
    const int k = static_cast<int>(table.size());
    for (int innerStep = 1; innerStep <= k; innerStep++)
        strokes.push_back(schedule.getStroke(innerStep));
    middle = (k + 1) / 2;
    while (!strokes[middle - 1])
        middle++;
}

std::vector<PropagationKernel::Impulse> FlowPropagator::getEndImpulses(int side) const {
    std::vector<PropagationKernel::Impulse> impulses;
    for (const LevelSchedule::Due &due : table.front())
        impulses.push_back({evaluator.getBuffer(side, due.slot), due.weight * integrator.getInnerStepSize()});
    return impulses;
}

int FlowPropagator::getBathFactor() const {
    const int interval = integrator.getThermostatInterval();
    return integrator.getFriction() == 0 || statistics.values.outerSteps % interval != 0 ? 0 : interval;
}

bool FlowPropagator::areShiftsNeeded() const {
    // The reverse of a step would take the shifts from the forces at its other end. Where balance must be exact the
    // bath acts on the velocities as they are: what it then dissipates is heat, and Metropolis takes it into account.
    return hasSlowForces && getBathFactor() != 0 && integrator.getMetropolis() != KStepIntegrator::Metropolis::Full;
}

void FlowPropagator::propagate(int start) {
    const double d = integrator.getInnerStepSize();
    const int k = static_cast<int>(table.size());
    lastForces.clear();
    for (int slot = 0; slot < schedule.getNumCommon(); slot++)
        lastForces.push_back(evaluator.getBuffer(start, slot));
    const bool areNeeded = areShiftsNeeded();
    for (int innerStep = 1; innerStep <= k; innerStep++) {
        advance(innerStep);
        if (innerStep == k)
            return;
        for (const LevelSchedule::Due &due : table[innerStep]) {
            evaluator.evaluate(due.slot);
            kernel.kickWithForces(context, due.weight * d);
            if (areNeeded && schedule.isCommon(due.slot) && due.weight > 1) {
                lastForces[due.slot] = evaluator.getInteriorBuffer(due.slot);
                kernel.storeForces(context, lastForces[due.slot]);
            }
        }
    }
}

/** The drift between kicks, with friction and noise in its middle where they are due. */
void FlowPropagator::advance(int innerStep) {
    const double d = integrator.getInnerStepSize();
    const double tolerance = integrator.getConstraintTolerance();
    const int bathFactor = getBathFactor();
    const auto &stroke = strokes[innerStep - 1];
    statistics.values.innerSteps++;
    if (!stroke || bathFactor == 0) {
        if (bathFactor == 0 && innerStep == middle) {
            kernel.constrainVelocities(context, tolerance);
            kernel.measureMiddle(context);
        }
        kernel.drift(context, d, tolerance);
        return;
    }
    kernel.drift(context, d / 2, tolerance);
    std::vector<PropagationKernel::Impulse> shifts;
    if (areShiftsNeeded())
        for (const LevelSchedule::Stroke::Shift &shift : stroke->shifts)
            shifts.push_back({lastForces[shift.slot], shift.weight * d});
    const double decay = std::exp(-integrator.getFriction() * bathFactor * stroke->duration * d);
    kernel.thermostat(context, decay, integrator.getTemperature(), shifts, tolerance);
    kernel.drift(context, d / 2, tolerance);
}

} // namespace KStep
