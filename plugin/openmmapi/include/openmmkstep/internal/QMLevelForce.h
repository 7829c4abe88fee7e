#ifndef OPENMMKSTEP_QMLEVELFORCE_H_
#define OPENMMKSTEP_QMLEVELFORCE_H_

#include <string>

namespace KStep {

/**
 * What an integrator may ask of the force of an expensive level, whichever method is behind it. An OpenMM::ForceImpl
 * that is one of these too is found by dynamic_cast.
 */
class QMLevelForce {
public:
    virtual ~QMLevelForce() = default;
    /** Calculations made since the Context was created, whoever asked for them; failed ones count. */
    virtual long long getNumCalls() const = 0;
    /**
     * Whether geometries are tried out, as a minimiser does: a calculation that fails then gives an infinite energy,
     * from which a line search steps back, instead of an exception.
     */
    virtual void setTriesGeometries(bool doesTry) = 0;
    /** Why the last calculation failed; empty if it did not. */
    virtual const std::string &getLastFailure() const = 0;
    /** Forget what earlier calculations left behind (a density to start from), so that results do not depend on it. */
    virtual void forget() = 0;
    /** What the next calculation starts from, for recall() in another Context; where there is none, it is forgotten. */
    virtual std::string getMemory() = 0;
    /** Start the next calculation from what getMemory() gave. */
    virtual void recall(const std::string &memory) = 0;
};

} // namespace KStep

#endif
