#include "ContractDocument.h"
#include <algorithm>

using nlohmann::json;
using OpenMM::OpenMMException;

namespace KStep {

namespace {

constexpr int supportedVersion = 1;

} // namespace

ContractDocument::ContractDocument(const std::string &text, const std::string &owner, const std::string &kind)
    : owner(owner) {
    try {
        document = json::parse(text);
    } catch (const json::exception &error) {
        refuse(std::string("is not valid JSON: ") + error.what());
    }
    if (!document.is_object() || document.value("contract", json()) != "kstep-model")
        refuse("is not that of a kstep model (its field 'contract' is not \"kstep-model\")");
    const int version = field<int>("version");
    if (version != supportedVersion)
        refuse("has version " + std::to_string(version) + "; this version of the plugin understands version " +
               std::to_string(supportedVersion));
    const auto found = field<std::string>("kind");
    if (found != kind)
        refuse("is for a model of kind '" + found + "', but " + owner + " needs one of kind '" + kind + "'");
}

void ContractDocument::refuse(const std::string &reason) const {
    throw OpenMMException(owner + ": the model's contract " + reason);
}

bool ContractDocument::has(const char *name) const {
    const auto found = document.find(name);
    return found != document.end() && !found->is_null();
}

void ContractDocument::checkUnits(std::initializer_list<std::pair<const char *, const char *>> expected) const {
    const auto units = field<json>("units");
    for (const auto &[quantity, unit] : expected) {
        const auto found = units.find(quantity);
        if (found == units.end() || *found != unit)
            refuse("gives the unit of " + std::string(quantity) + " as " +
                   (found == units.end() ? "nothing" : found->dump()) + ", but it must be \"" + unit + "\"");
    }
}

CoveredAtoms CoveredAtoms::parse(const ContractDocument &document) {
    CoveredAtoms atoms;
    atoms.elements = document.field<std::vector<int>>("elements");
    if (document.has("atomic_numbers"))
        atoms.atomicNumbers = document.field<std::vector<int>>("atomic_numbers");
    return atoms;
}

void CoveredAtoms::check(const std::vector<int> &numbers, const std::string &owner) const {
    for (size_t i = 0; i < numbers.size(); i++)
        if (std::find(elements.begin(), elements.end(), numbers[i]) == elements.end())
            throw OpenMMException(owner + ": atom " + std::to_string(i) + " has the atomic number " +
                                  std::to_string(numbers[i]) + ", but the model covers the elements " +
                                  json(elements).dump());
    if (atomicNumbers.empty())
        return;
    if (numbers.size() != atomicNumbers.size())
        throw OpenMMException(owner + ": the model was made for a molecule of " + std::to_string(atomicNumbers.size()) +
                              " atoms, but there are " + std::to_string(numbers.size()));
    for (size_t i = 0; i < numbers.size(); i++)
        if (numbers[i] != atomicNumbers[i])
            throw OpenMMException(owner + ": atom " + std::to_string(i) + " has the atomic number " +
                                  std::to_string(numbers[i]) + ", but atom " + std::to_string(i) +
                                  " of the molecule that the model was made for has " +
                                  std::to_string(atomicNumbers[i]) + "; the order of the atoms must be the same");
}

} // namespace KStep
