#include "FxcContract.h"

using nlohmann::json;
using std::string;
using std::vector;

namespace KStep {

namespace {

const string owner = "ElectronDynamicsModel";

/** Number of functions of shells [[l, exponents, coefficients], ...]. */
int countFunctions(const json &shells) {
    int count = 0;
    for (const json &shell : shells) {
        const int l = shell.at(0).get<int>();
        const auto exponents = shell.at(1).get<vector<double>>(), coefficients = shell.at(2).get<vector<double>>();
        if (l < 0 || exponents.empty() || exponents.size() != coefficients.size())
            return 0;
        count += 2 * l + 1;
    }
    return count;
}

} // namespace

FxcContract FxcContract::parse(const string &text) {
    const ContractDocument document(text, owner, "fxc");
    document.checkUnits({{"length", "bohr"}, {"time", "hbar/hartree"}, {"energy", "hartree"}, {"charge", "e"}});
    const auto inputs = document.field<vector<string>>("inputs"), outputs = document.field<vector<string>>("outputs");
    if (inputs != vector<string>{"numbers", "positions"} || outputs != vector<string>{"response", "density"})
        document.refuse("has inputs " + json(inputs).dump() + " and outputs " + json(outputs).dump() +
                        R"(; ["numbers", "positions"] with ["response", "density"] are understood)");
    if (document.field<int>("charge") != 0 || document.field<int>("multiplicity") != 1)
        document.refuse("is for a charge or multiplicity other than 0 and 1, but only neutral closed shells are "
                        "understood");
    FxcContract contract;
    contract.atoms = CoveredAtoms::parse(document);
    const auto basis = document.field<json>("auxiliary_basis");
    try {
        contract.auxiliaryBasis = basis.at("name").get<string>();
        for (int element : contract.atoms.elements)
            contract.numFunctions[element] = KStep::countFunctions(basis.at("elements").at(std::to_string(element)));
    } catch (const json::exception &error) {
        document.refuse(string("has an unusable field 'auxiliary_basis': ") + error.what());
    }
    for (const auto &[element, count] : contract.numFunctions)
        if (count == 0)
            document.refuse("has an unusable field 'auxiliary_basis': element " + std::to_string(element) +
                            " has no shells, or shells of another form than [l, exponents, coefficients]");
    return contract;
}

void FxcContract::checkAtoms(const vector<int> &numbers) const {
    atoms.check(numbers, owner);
}

int FxcContract::countFunctions(const vector<int> &numbers) const {
    int count = 0;
    for (int number : numbers)
        count += numFunctions.at(number);
    return count;
}

} // namespace KStep
