#ifndef OPENMMKSTEP_LADDER_H_
#define OPENMMKSTEP_LADDER_H_

#include "openmm/System.h"
#include "openmmkstep/KStepIntegrator.h"
#include <vector>

namespace KStep {

/** The force groups of a KStepIntegrator, checked against a System: which is due when, and with which weight. */
class Ladder {
public:
    /** A set of force groups evaluated together (as a bit mask) and the weight of their sum, in inner steps. */
    struct Term {
        int groups;
        int weight;
    };
    /**
     * Take the groups of an integrator, or their defaults, and check them.
     *
     * Throws an OpenMMException if groups overlap, if a group named is empty, if forces of the System belong to no
     * group, if periods do not fit k, or if k > 1 and there is no surrogate.
     */
    static Ladder create(const KStepIntegrator &integrator, const OpenMM::System &system);
    int getQMGroup() const { return qmGroup; }
    /** All common groups as a bit mask. */
    int getCommonGroups() const;
    const std::vector<KStepIntegrator::Level> &getSurrogates() const { return surrogates; }
    /** The common groups due at an inner step, joined where their weights are equal. */
    std::vector<Term> getCommonTerms(int innerStep) const;
    /**
     * The weight of a surrogate at an inner step: its period if it is due, less that of the next better level if that
     * is due too (for the last surrogate this is the QM level, with the period k).
     */
    int getSurrogateWeight(size_t level, int innerStep, int k) const;
    /** Throws an OpenMMException if a period does not divide k. */
    void checkPeriods(int k) const;

private:
    std::vector<KStepIntegrator::Level> commons, surrogates;
    int qmGroup = 0;
};

} // namespace KStep

#endif
