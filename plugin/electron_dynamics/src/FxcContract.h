#ifndef OPENMMKSTEP_FXCCONTRACT_H_
#define OPENMMKSTEP_FXCCONTRACT_H_

#include "torch/ContractDocument.h"
#include <map>
#include <string>
#include <vector>

namespace KStep {

/** What the archive of a response model (kind "fxc") says of itself in contract.json. */
struct FxcContract {
    CoveredAtoms atoms;
    std::string auxiliaryBasis;
    /** Number of auxiliary functions of each element that the model covers. */
    std::map<int, int> numFunctions;

    /**
     * Read a contract of a response model.
     *
     * @throws OpenMMException that says what is wrong if it is not valid JSON, lacks a field, or has a version, kind,
     *         unit, input or output that this version of the plugin does not understand
     */
    static FxcContract parse(const std::string &json);
    /** @throws OpenMMException if the model does not cover these atoms */
    void checkAtoms(const std::vector<int> &numbers) const;
    /** Number of auxiliary functions of atoms that the model covers. */
    int countFunctions(const std::vector<int> &numbers) const;
};

} // namespace KStep

#endif
