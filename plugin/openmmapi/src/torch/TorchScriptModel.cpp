#include "TorchScriptModel.h"
#include "LoadedArchive.h"
#include "ModelOutputs.h"
#include "TorchCalls.h"
#include "openmm/OpenMMException.h"
#include <torch/csrc/autograd/autograd.h>
#include <torch/script.h>

using OpenMM::OpenMMException;
using OpenMM::Vec3;

namespace KStep {

namespace {

const std::string owner = "TorchScriptForce";

} // namespace

struct TorchScriptModel::Module {
    torch::jit::Module script;
};

TorchScriptModel::TorchScriptModel(const std::string &archive) : module(std::make_unique<Module>()) {
    module->script = loadArchive(archive, owner, contractText);
    contract = PotentialContract::parse(contractText);
}

TorchScriptModel::~TorchScriptModel() = default;

PotentialModel::Result TorchScriptModel::evaluate(const std::vector<Vec3> &positions,
                                                  const std::vector<double> &potential, int numThreads) {
    Result result;
    callTorch(owner, numThreads, [&] { result = call(positions, potential); });
    return result;
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
        return asResult({energy, -gradient}, positions.size(), owner);
    }
    const size_t expected = contract.returnsCharges ? 3 : 2;
    if (!output.isTuple() || output.toTupleRef().elements().size() < expected)
        throw OpenMMException("TorchScriptForce: the model does not return the outputs that its contract names");
    std::vector<torch::Tensor> tensors;
    for (size_t i = 0; i < expected; i++)
        tensors.push_back(output.toTupleRef().elements()[i].toTensor());
    return asResult(tensors, positions.size(), owner);
}

void TorchScriptModel::warmUp(size_t numAtoms, int numThreads) {
    constexpr int callsUntilOptimised = 4;
    for (int i = 0; i < callsUntilOptimised; i++)
        evaluate(trialGeometry(numAtoms), std::vector<double>(numAtoms, 0.0), numThreads);
}

} // namespace KStep
