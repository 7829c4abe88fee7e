#ifndef OPENMMKSTEP_OUTERSTEP_H_
#define OPENMMKSTEP_OUTERSTEP_H_

#include "Evaluator.h"
#include "Propagator.h"

namespace KStep {

/** An outer step that was tried, up to its end or to the failure of a surrogate there. */
struct Attempt {
    StepEnd end;
    PropagationKernel::Summary summary;
    /** Whether it reached its end, so that the summary has a meaning. */
    bool isComplete = false;
    /** Change of T + U_C + U_Q since the start, less the heat (kJ/mol). */
    double findEnergyError(const StepEnd &start) const {
        return end.potentialEnergy + summary.kineticEnergy - start.potentialEnergy - summary.startKineticEnergy -
               summary.heat;
    }
};

/** Half kick, map, QM call, half kick. Whether the result is kept is decided by others. */
class OuterStep {
public:
    OuterStep(const LevelSchedule &schedule, const KStepIntegrator &integrator, OpenMM::ContextImpl &context,
              PropagationKernel &kernel, Evaluator &evaluator)
        : schedule(schedule), integrator(integrator), context(context), kernel(kernel), evaluator(evaluator) {}
    /**
     * @param propagator     the map
     * @param start          the end, 0 or 1, at which the step starts; the other one's buffers are filled
     * @param stopAtFailure  see Evaluator::evaluateEnd()
     * @throws OpenMMException if a force fails
     */
    Attempt take(Propagator &propagator, int start, bool stopAtFailure);
    /** Whether what the correction adds to the energy is measured. */
    bool measuresCorrection() const;

private:
    /** Add the work of the correction in the half kick at an end to what finishStep() reports. */
    void tallyCorrection(int side, bool isGiven);
    void halfKick(const Propagator &propagator, int side);
    const LevelSchedule &schedule;
    const KStepIntegrator &integrator;
    OpenMM::ContextImpl &context;
    PropagationKernel &kernel;
    Evaluator &evaluator;
};

} // namespace KStep

#endif
