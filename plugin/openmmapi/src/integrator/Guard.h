#ifndef OPENMMKSTEP_GUARD_H_
#define OPENMMKSTEP_GUARD_H_

#include "OuterStep.h"
#include "openmmkstep/KStepIntegrator.h"
#include <optional>
#include <string>

namespace KStep {

/** Decides whether an outer step is kept, by its integrator's bounds. */
class Guard {
public:
    Guard(const KStepIntegrator &integrator, int numParticles);
    /**
     * Judge the correction at an end of a step. One that is not finite is taken for not measured.
     *
     * @param end  its rejection is set where steps on all levels may not start or end there
     */
    void judge(StepEnd &end) const;
    /** Why no step may end as this one did: it is not finite, or its energy error exceeds the bound. */
    std::optional<std::string> findFault(const StepEnd &start, const Attempt &attempt) const;
    /** Why a step on all levels must be redone; nothing if it may stay. */
    std::optional<std::string> findRejection(const StepEnd &start, const Attempt &attempt) const;

private:
    const KStepIntegrator &integrator;
    /** Of the bound of the energy error, in a System of this size. */
    double sizeFactor;
};

} // namespace KStep

#endif
