#include "ModelContract.h"
#include "openmm/OpenMMException.h"
#include <algorithm>
#include <nlohmann/json.hpp>

using nlohmann::json;
using OpenMM::OpenMMException;

namespace KStep {

namespace {

constexpr int supportedVersion = 1;

[[noreturn]] void refuse(const std::string &reason) {
    throw OpenMMException("TorchScriptForce: the model's contract " + reason);
}

template <class T> T field(const json &document, const char *name) {
    const auto found = document.find(name);
    if (found == document.end())
        refuse("lacks the field '" + std::string(name) + "'; export the model again with `kstep export`");
    try {
        return found->get<T>();
    } catch (const json::exception &error) {
        refuse("has an unusable field '" + std::string(name) + "': " + error.what());
    }
}

bool contains(const std::vector<std::string> &names, const std::string &name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

void checkUnits(const json &units) {
    const std::pair<const char *, const char *> expected[] = {
        {"length", "nm"}, {"time", "ps"}, {"energy", "kJ/mol"}, {"mass", "amu"}, {"charge", "e"}};
    for (const auto &[quantity, unit] : expected) {
        const auto found = units.find(quantity);
        if (found == units.end() || *found != unit)
            refuse("gives the unit of " + std::string(quantity) + " as " +
                   (found == units.end() ? "nothing" : found->dump()) + ", but it must be \"" + unit + "\"");
    }
}

} // namespace

ModelContract ModelContract::parse(const std::string &text) {
    json document;
    try {
        document = json::parse(text);
    } catch (const json::exception &error) {
        refuse(std::string("is not valid JSON: ") + error.what());
    }
    if (!document.is_object() || document.value("contract", json()) != "kstep-model")
        refuse("is not that of a kstep model (its field 'contract' is not \"kstep-model\")");
    const int version = field<int>(document, "version");
    if (version != supportedVersion)
        refuse("has version " + std::to_string(version) + "; this version of the plugin understands version " +
               std::to_string(supportedVersion));
    const auto kind = field<std::string>(document, "kind");
    if (kind != "potential")
        refuse("is for a model of kind '" + kind + "', but a TorchScriptForce needs a 'potential'");
    checkUnits(field<json>(document, "units"));

    ModelContract contract;
    const auto inputs = field<std::vector<std::string>>(document, "inputs");
    if (inputs != std::vector<std::string>{"positions"} && inputs != std::vector<std::string>{"positions", "potential"})
        refuse("has inputs " + json(inputs).dump() +
               R"(; ["positions"] and ["positions", "potential"] are understood)");
    contract.takesPotential = inputs.size() == 2;
    const auto outputs = field<std::vector<std::string>>(document, "outputs");
    const std::vector<std::string> all = {"energy", "forces", "charges"};
    if (outputs.empty() || outputs.size() > all.size() || !std::equal(outputs.begin(), outputs.end(), all.begin()))
        refuse("has outputs " + json(outputs).dump() +
               R"(; ["energy"], ["energy", "forces"] and ["energy", "forces", "charges"] are understood)");
    contract.returnsForces = contains(outputs, "forces");
    contract.returnsCharges = contains(outputs, "charges");
    if (contract.takesPotential && !contract.returnsCharges)
        refuse("has the input 'potential' but not the output 'charges', without which there are no forces on the "
               "embedding charges");
    contract.elements = field<std::vector<int>>(document, "elements");
    if (document.contains("atomic_numbers") && !document["atomic_numbers"].is_null())
        contract.atomicNumbers = field<std::vector<int>>(document, "atomic_numbers");
    return contract;
}

void ModelContract::checkAtoms(const std::vector<int> &numbers) const {
    for (size_t i = 0; i < numbers.size(); i++)
        if (std::find(elements.begin(), elements.end(), numbers[i]) == elements.end())
            throw OpenMMException("TorchScriptForce: atom " + std::to_string(i) + " has the atomic number " +
                                  std::to_string(numbers[i]) + ", but the model covers the elements " +
                                  json(elements).dump());
    if (atomicNumbers.empty())
        return;
    if (numbers.size() != atomicNumbers.size())
        throw OpenMMException("TorchScriptForce: the model was made for a molecule of " +
                              std::to_string(atomicNumbers.size()) + " atoms, but there are " +
                              std::to_string(numbers.size()));
    for (size_t i = 0; i < numbers.size(); i++)
        if (numbers[i] != atomicNumbers[i])
            throw OpenMMException("TorchScriptForce: atom " + std::to_string(i) + " has the atomic number " +
                                  std::to_string(numbers[i]) + ", but atom " + std::to_string(i) +
                                  " of the molecule that the model was made for has " +
                                  std::to_string(atomicNumbers[i]) + "; the order of the atoms must be the same");
}

} // namespace KStep
