#include "FlowPropagator.h"
#include <cmath>

namespace KStep {

FlowPropagator::FlowPropagator(const LevelSchedule::Table &table, const LevelSchedule &schedule,
                               const KStepIntegrator &integrator, OpenMM::ContextImpl &context,
                               PropagationKernel &kernel, Evaluator &evaluator, Statistics &statistics)
    : table(table), schedule(schedule), integrator(integrator), context(context), kernel(kernel), evaluator(evaluator),
      statistics(statistics) {
    // A table in which they act at every inner step, as in plain steps, has no impulse that is given too early.
    if (schedule.getNumCommon() > 0)
        for (const LevelSchedule::Due &due : table.front())
            keepsSlowForces |= due.slot == schedule.getSlowestCommon() && due.weight > 1;
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

void FlowPropagator::propagate(int start) {
    const double d = integrator.getInnerStepSize();
    const int k = static_cast<int>(table.size());
    int slowBuffer = keepsSlowForces ? evaluator.getBuffer(start, schedule.getSlowestCommon()) : -1;
    for (int innerStep = 1; innerStep <= k; innerStep++) {
        advance(innerStep, slowBuffer);
        if (innerStep == k)
            return;
        for (const LevelSchedule::Due &due : table[innerStep]) {
            evaluator.evaluate(due.slot);
            kernel.kickWithForces(context, due.weight * d);
            if (keepsSlowForces && due.slot == schedule.getSlowestCommon()) {
                slowBuffer = evaluator.getInteriorBuffer();
                kernel.storeForces(context, slowBuffer);
            }
        }
    }
}

/** The drift between kicks, with friction and noise in its middle where they are due. */
void FlowPropagator::advance(int innerStep, int slowBuffer) {
    const double d = integrator.getInnerStepSize();
    const double tolerance = integrator.getConstraintTolerance();
    const double friction = integrator.getFriction();
    const auto &stroke = strokes[innerStep - 1];
    statistics.values.innerSteps++;
    if (!stroke || friction == 0) {
        if (friction == 0 && innerStep == middle) {
            kernel.constrainVelocities(context, tolerance);
            kernel.measureMiddle(context);
        }
        kernel.drift(context, d, tolerance);
        return;
    }
    kernel.drift(context, d / 2, tolerance);
    const PropagationKernel::Impulse shift = {stroke->shift == 0 ? -1 : slowBuffer, stroke->shift * d};
    kernel.thermostat(context, std::exp(-friction * stroke->duration * d), integrator.getTemperature(), shift,
                      tolerance);
    kernel.drift(context, d / 2, tolerance);
}

} // namespace KStep
