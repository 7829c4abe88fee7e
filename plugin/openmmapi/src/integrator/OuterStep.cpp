#include "OuterStep.h"

namespace KStep {

Attempt OuterStep::take(Propagator &propagator, int start, bool stopAtFailure) {
    Attempt attempt;
    const bool isTallied = stopAtFailure && measuresCorrection();
    if (isTallied)
        tallyCorrection(start, false);
    halfKick(propagator, start);
    propagator.propagate(start);
    const int side = 1 - start;
    attempt.end = evaluator.evaluateEnd(side, stopAtFailure, measuresCorrection());
    if (attempt.end.rejection && stopAtFailure)
        return attempt;
    halfKick(propagator, side);
    if (isTallied)
        tallyCorrection(side, true);
    kernel.constrainVelocities(context, integrator.getConstraintTolerance());
    const int top = schedule.getTopSurrogate();
    const bool isMeasured = top >= 0 && !attempt.end.rejection;
    attempt.summary = kernel.finishStep(context, isMeasured ? evaluator.getBuffer(side, schedule.getQMSlot()) : -1,
                                        isMeasured ? evaluator.getBuffer(side, top) : -1);
    if (isMeasured)
        attempt.end.correction = attempt.summary.difference;
    attempt.isComplete = true;
    return attempt;
}

bool OuterStep::measuresCorrection() const {
    const KStepIntegrator::Metropolis mode = integrator.getMetropolis();
    return (mode == KStepIntegrator::Metropolis::Monitor || mode == KStepIntegrator::Metropolis::Correction) &&
           integrator.getK() > 1 && schedule.getTopSurrogate() >= 0;
}

void OuterStep::tallyCorrection(int side, bool isGiven) {
    const double weight = 0.5 * integrator.getStepSize();
    kernel.tallyKick(context,
                     {{evaluator.getBuffer(side, schedule.getQMSlot()), weight},
                      {evaluator.getBuffer(side, schedule.getTopSurrogate()), -weight}},
                     isGiven, integrator.getConstraintTolerance());
}

void OuterStep::halfKick(const Propagator &propagator, int side) {
    std::vector<PropagationKernel::Impulse> impulses = propagator.getEndImpulses(side);
    for (PropagationKernel::Impulse &impulse : impulses)
        impulse.weight *= 0.5;
    kernel.kick(context, impulses);
}

} // namespace KStep
