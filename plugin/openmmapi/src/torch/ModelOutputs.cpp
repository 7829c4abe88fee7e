#include "ModelOutputs.h"
#include "TorchCalls.h"

using OpenMM::Vec3;

namespace KStep {

PotentialModel::Result asResult(const std::vector<at::Tensor> &outputs, size_t numAtoms, const std::string &owner) {
    const auto n = static_cast<int64_t>(numAtoms);
    PotentialModel::Result result;
    result.energy = checkedOutput(outputs.at(0).reshape({}), "energies", {}, owner).item<double>();
    const at::Tensor forces = checkedOutput(outputs.at(1), "forces", {n, 3}, owner);
    const auto *vectors = reinterpret_cast<const Vec3 *>(forces.data_ptr<double>());
    result.forces.assign(vectors, vectors + n);
    if (outputs.size() > 2) {
        const at::Tensor charges = checkedOutput(outputs[2], "charges", {n}, owner);
        result.charges.assign(charges.data_ptr<double>(), charges.data_ptr<double>() + n);
    }
    return result;
}

} // namespace KStep
