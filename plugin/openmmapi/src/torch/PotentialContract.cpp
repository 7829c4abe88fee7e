#include "PotentialContract.h"
#include <algorithm>

using nlohmann::json;
using std::string;
using std::vector;

namespace KStep {

namespace {

const string owner = "TorchScriptForce";

bool contains(const vector<string> &names, const string &name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

} // namespace

PotentialContract PotentialContract::parse(const string &text) {
    const ContractDocument document(text, owner, "potential");
    document.checkUnits({{"length", "nm"}, {"time", "ps"}, {"energy", "kJ/mol"}, {"mass", "amu"}, {"charge", "e"}});
    PotentialContract contract;
    const auto inputs = document.field<vector<string>>("inputs");
    if (inputs != vector<string>{"positions"} && inputs != vector<string>{"positions", "potential"})
        document.refuse("has inputs " + json(inputs).dump() +
                        R"(; ["positions"] and ["positions", "potential"] are understood)");
    contract.takesPotential = inputs.size() == 2;
    const auto outputs = document.field<vector<string>>("outputs");
    const vector<string> all = {"energy", "forces", "charges"};
    if (outputs.empty() || outputs.size() > all.size() || !std::equal(outputs.begin(), outputs.end(), all.begin()))
        document.refuse("has outputs " + json(outputs).dump() +
                        R"(; ["energy"], ["energy", "forces"] and ["energy", "forces", "charges"] are understood)");
    contract.returnsForces = contains(outputs, "forces");
    contract.returnsCharges = contains(outputs, "charges");
    if (contract.takesPotential && !contract.returnsCharges)
        document.refuse("has the input 'potential' but not the output 'charges', without which there are no forces on "
                        "the embedding charges");
    contract.atoms = CoveredAtoms::parse(document);
    return contract;
}

void PotentialContract::checkAtoms(const vector<int> &numbers) const {
    atoms.check(numbers, owner);
}

} // namespace KStep
