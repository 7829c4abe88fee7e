#ifndef OPENMMKSTEP_MODELCONTRACT_H_
#define OPENMMKSTEP_MODELCONTRACT_H_

#include <string>
#include <vector>

namespace KStep {

/** What an archive says of itself in contract.json, as far as the plugin needs it. */
struct ModelContract {
    std::vector<int> elements;
    /** The atoms of the one molecule that the model was made for, in its order; empty if it takes any. */
    std::vector<int> atomicNumbers;
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

} // namespace KStep

#endif
