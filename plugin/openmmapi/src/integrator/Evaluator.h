#ifndef OPENMMKSTEP_EVALUATOR_H_
#define OPENMMKSTEP_EVALUATOR_H_

#include "LevelSchedule.h"
#include "Statistics.h"
#include "StepEnd.h"
#include "openmm/internal/ContextImpl.h"
#include "openmmkstep/internal/PropagationKernel.h"
#include "openmmkstep/internal/QMLevelForce.h"
#include <vector>

namespace KStep {

/** Asks the Context for the forces of the levels, counts and times that, and fills the kernel's buffers. */
class Evaluator {
public:
    Evaluator(const LevelSchedule &schedule, OpenMM::ContextImpl &context, PropagationKernel &kernel,
              Statistics &statistics);
    /** One buffer per slot at either end of a step, and one per common slot in between. */
    static int countBuffers(const LevelSchedule &schedule) {
        return 2 * schedule.getNumSlots() + schedule.getNumCommon();
    }
    int getBuffer(int side, int slot) const { return side * schedule.getNumSlots() + slot; }
    int getInteriorBuffer(int commonSlot) const { return 2 * schedule.getNumSlots() + commonSlot; }
    /** Compute the forces of a slot at the present positions; they are then the last ones that the platform computed.
     */
    void evaluate(int slot);
    /**
     * Compute and store the forces of all levels at the present positions.
     *
     * @param side            the end, 0 or 1, whose buffers they go to
     * @param stopAtFailure   whether to return as soon as a surrogate fails, which spares the QM call
     * @param measureSurrogate  whether the energy of the best surrogate is asked for
     * @throws OpenMMException if common forces or QM level fail, or their energy is not finite
     */
    StepEnd evaluateEnd(int side, bool stopAtFailure, bool measureSurrogate);
    /** The energy of a slot at the present positions (kJ/mol). */
    double measureEnergy(int slot) { return timedEvaluation(slot, true); }
    /** QM calculations that others asked for since the Context was created; nothing if the level does not count. */
    std::optional<long long> countOtherQMCalls() const;
    /** What each QM calculation starts from next, as far as it can be told; the rest is forgotten. */
    std::vector<std::string> getQMMemories();
    /** Start the next QM calculations from these; from nothing if there are more or fewer of them. */
    void recallQMMemories(const std::vector<std::string> &memories);

private:
    double timedEvaluation(int slot, bool includeEnergy);
    long long countQMCalculations() const;
    const LevelSchedule &schedule;
    OpenMM::ContextImpl &context;
    PropagationKernel &kernel;
    Statistics &statistics;
    /** Forces that do QM calculations; those of the QM level among them. */
    std::vector<QMLevelForce *> levelForces, qmForces;
    long long ownQMCalculations = 0;
};

} // namespace KStep

#endif
