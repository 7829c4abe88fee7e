#include "OuterStep.h"

namespace KStep {

Attempt OuterStep::take(Propagator &propagator, int start, bool stopAtFailure) {
    Attempt attempt;
    halfKick(propagator, start);
    propagator.propagate(start);
    const int side = 1 - start;
    attempt.end = evaluator.evaluateEnd(side, stopAtFailure);
    if (attempt.end.rejection && stopAtFailure)
        return attempt;
    halfKick(propagator, side);
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

void OuterStep::halfKick(const Propagator &propagator, int side) {
    std::vector<PropagationKernel::Impulse> impulses = propagator.getEndImpulses(side);
    for (PropagationKernel::Impulse &impulse : impulses)
        impulse.weight *= 0.5;
    kernel.kick(context, impulses);
}

} // namespace KStep
