#ifndef OPENMMKSTEP_PROPAGATOR_H_
#define OPENMMKSTEP_PROPAGATOR_H_

#include "openmmkstep/internal/PropagationKernel.h"
#include <vector>

namespace KStep {

/** The map of an outer step between its two half kicks: k inner steps, or one evaluation of a learned map. */
class Propagator {
public:
    virtual ~Propagator() = default;
    /** The impulses at an end of the step, of which half is given before the map and half after it. */
    virtual std::vector<PropagationKernel::Impulse> getEndImpulses(int side) const = 0;
    /** Whether the next step has no noise. */
    virtual bool isDeterministic() const = 0;
    /**
     * Move positions and velocities.
     *
     * @param start  the end, 0 or 1, at which the step starts; its forces are stored
     * @throws OpenMMException if a force fails on the way
     */
    virtual void propagate(int start) = 0;
};

} // namespace KStep

#endif
