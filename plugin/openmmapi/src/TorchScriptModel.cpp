#include "TorchScriptModel.h"
#include "TorchCalls.h"
#include "openmm/OpenMMException.h"
#include <sstream>
#include <torch/csrc/autograd/autograd.h>
#include <torch/script.h>

using OpenMM::OpenMMException;
using OpenMM::Vec3;

namespace KStep {

struct TorchScriptModel::Module {
    torch::jit::Module script;
};

TorchScriptModel::TorchScriptModel(const std::string &archive) : module(std::make_unique<Module>()) {
    std::istringstream stream(archive);
    torch::jit::ExtraFilesMap files = {{"contract.json", ""}};
    try {
        module->script = torch::jit::load(stream, c10::Device(c10::kCPU), files);
    } catch (const std::exception &error) {
        throw OpenMMException("TorchScriptForce: this is not a TorchScript archive that can be loaded: " +
                              plainMessage(error));
    }
    contractText = files["contract.json"];
    if (contractText.empty())
        throw OpenMMException(
            "TorchScriptForce: the archive has no contract (an extra file contract.json that gives kind, "
            "units and elements); write it with `kstep export` or kstep_models.export");
    contract = ModelContract::parse(contractText);
    module->script.eval();
}

TorchScriptModel::~TorchScriptModel() = default;

PotentialModel::Result TorchScriptModel::evaluate(const std::vector<Vec3> &positions,
                                                  const std::vector<double> &potential, int numThreads) {
    return callTorch(numThreads, [&] { return call(positions, potential); });
}

PotentialModel::Result TorchScriptModel::call(const std::vector<Vec3> &positions,
                                              const std::vector<double> &potential) {
    // The caller may be inside torch.no_grad(); modules differentiate themselves.
    const c10::AutoGradMode gradients(true);
    torch::Tensor x = asTensor(positions);
    if (!contract.returnsForces)
        x.requires_grad_(true);
    std::vector<c10::IValue> inputs = {x};
    if (contract.takesPotential)
        inputs.emplace_back(asTensor(potential));
    const c10::IValue output = module->script.forward(inputs);

    if (!contract.returnsForces) {
        const torch::Tensor energy =
            output.isTuple() ? output.toTupleRef().elements()[0].toTensor() : output.toTensor();
        const torch::Tensor gradient = torch::autograd::grad({energy.sum()}, {x})[0];
        return asResult({energy, -gradient}, positions.size());
    }
    const size_t expected = contract.returnsCharges ? 3 : 2;
    if (!output.isTuple() || output.toTupleRef().elements().size() < expected)
        throw OpenMMException("TorchScriptForce: the model does not return the outputs that its contract names");
    std::vector<torch::Tensor> tensors;
    for (size_t i = 0; i < expected; i++)
        tensors.push_back(output.toTupleRef().elements()[i].toTensor());
    return asResult(tensors, positions.size());
}

void TorchScriptModel::warmUp(size_t numAtoms, int numThreads) {
    constexpr int callsUntilOptimised = 4;
    for (int i = 0; i < callsUntilOptimised; i++)
        evaluate(trialGeometry(numAtoms), std::vector<double>(numAtoms, 0.0), numThreads);
}

} // namespace KStep
