#ifndef OPENMMKSTEP_MODELCONTRACT_H_
#define OPENMMKSTEP_MODELCONTRACT_H_

#include "ContractDocument.h"
#include <map>
#include <string>
#include <vector>

namespace KStep {

/** What the archive of a potential says of itself in contract.json, as far as the plugin needs it. */
struct ModelContract {
    CoveredAtoms atoms;
    bool takesPotential = false;
    bool returnsForces = false;
    bool returnsCharges = false;

    /**
     * Read a contract of a potential.
     *
     * Throws an OpenMMException that says what is wrong if it is not valid JSON, lacks a field, or has a version, kind,
     * unit, input or output that this version of the plugin does not understand.
     */
    static ModelContract parse(const std::string &json);
    /** Throws an OpenMMException if the model does not cover these atoms. */
    void checkAtoms(const std::vector<int> &numbers) const;
};

/** The same for a response model, kind "fxc". */
struct ResponseContract {
    CoveredAtoms atoms;
    std::string auxiliaryBasis;
    /** Number of auxiliary functions of each element that the model covers. */
    std::map<int, int> numFunctions;

    /** Read a contract of a response model; throws an OpenMMException as ModelContract::parse() does. */
    static ResponseContract parse(const std::string &json);
    /** Throws an OpenMMException if the model does not cover these atoms. */
    void checkAtoms(const std::vector<int> &numbers) const;
    /** Number of auxiliary functions of atoms that the model covers. */
    int countFunctions(const std::vector<int> &numbers) const;
};

} // namespace KStep

#endif
