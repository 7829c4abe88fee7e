#ifndef OPENMMKSTEP_POTENTIALCONTRACT_H_
#define OPENMMKSTEP_POTENTIALCONTRACT_H_

#include "ContractDocument.h"
#include <string>
#include <vector>

namespace KStep {

/** What the archive of a potential says of itself in contract.json, as far as the plugin needs it. */
struct PotentialContract {
    CoveredAtoms atoms;
    bool takesPotential = false;
    bool returnsForces = false;
    bool returnsCharges = false;

    /**
     * Read a contract of a potential.
     *
     * @throws OpenMMException if it is not valid JSON, lacks a field, or has a version, kind,
     * unit, input or output that this version of the plugin does not understand
     */
    static PotentialContract parse(const std::string &json);
    /** @throws OpenMMException if the model does not cover these atoms */
    void checkAtoms(const std::vector<int> &numbers) const;
};

} // namespace KStep

#endif
