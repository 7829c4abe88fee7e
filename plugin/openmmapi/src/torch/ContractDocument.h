#ifndef OPENMMKSTEP_CONTRACTDOCUMENT_H_
#define OPENMMKSTEP_CONTRACTDOCUMENT_H_

#include "openmm/OpenMMException.h"
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace KStep {

/**
 * The JSON document contract.json of an archive: the fields that models of every kind have, read with errors that say
 * whose archive it is and what is wrong.
 */
class ContractDocument {
public:
    /**
     * @param text   the document
     * @param owner  the class that reads it, named in errors
     * @param kind   the kind of model that it needs
     *
     * @throws OpenMMException if it is not valid JSON, not a contract, or has another version or kind
     */
    ContractDocument(const std::string &text, const std::string &owner, const std::string &kind);
    [[noreturn]] void refuse(const std::string &reason) const;
    /** @throws OpenMMException if a field is missing or null, or is of another type */
    template <class T> T field(const char *name) const {
        if (!has(name))
            refuse("lacks the field '" + std::string(name) + "'; export the model again with `kstep export`");
        try {
            return document[name].get<T>();
        } catch (const nlohmann::json::exception &error) {
            refuse("has an unusable field '" + std::string(name) + "': " + error.what());
        }
    }
    /** Whether a field is there and not null. */
    bool has(const char *name) const;
    /** @throws OpenMMException unless these quantities have these units */
    void checkUnits(std::initializer_list<std::pair<const char *, const char *>> expected) const;

private:
    nlohmann::json document;
    std::string owner;
};

/** Which atoms a model takes. */
struct CoveredAtoms {
    std::vector<int> elements;
    /** The atoms of the one molecule that the model was made for, in its order; empty if it takes any. */
    std::vector<int> atomicNumbers;

    static CoveredAtoms parse(const ContractDocument &document);
    /**
     * @throws OpenMMException if the model does not cover these atoms
     *
     * @param numbers  atomic numbers
     * @param owner    the class that uses the model, named in the error
     */
    void check(const std::vector<int> &numbers, const std::string &owner) const;
};

} // namespace KStep

#endif
