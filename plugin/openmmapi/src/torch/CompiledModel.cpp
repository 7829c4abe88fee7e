#include "CompiledModel.h"
#include "ModelOutputs.h"
#include "TorchCalls.h"
#include "TorchScriptModel.h"
#include "openmm/OpenMMException.h"
#include <algorithm>
#include <c10/core/GradMode.h>
#include <cmath>
#include <filesystem>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

using OpenMM::OpenMMException;
using OpenMM::Vec3;

namespace KStep {

namespace {

const std::string owner = "TorchScriptForce";
const char *const remedy = "; compile the archive again with `kstep compile`, or do without";

} // namespace

struct CompiledModel::Loader {
    explicit Loader(const std::string &package) : native(package, "model", /*run_single_threaded=*/true) {}
    torch::inductor::AOTIModelPackageLoader native;
};

CompiledModel::CompiledModel(const std::string &package, TorchScriptModel &original, size_t numAtoms)
    : package(package), takesPotential(original.getContract().takesPotential),
      numOutputs(original.getContract().returnsCharges ? 3 : 2) {
    if (!std::filesystem::is_regular_file(package))
        throw OpenMMException(owner + ": the compiled package " + package + " does not exist" + remedy);
    try {
        loader = std::make_unique<Loader>(package);
    } catch (const std::exception &error) {
        throw OpenMMException(owner + ": the compiled package " + package +
                              " cannot be loaded here: " + plainMessage(error) + remedy);
    }
    compare(original, numAtoms);
}

CompiledModel::~CompiledModel() = default;

PotentialModel::Result CompiledModel::evaluate(const std::vector<Vec3> &positions, const std::vector<double> &potential,
                                               int numThreads) {
    Result result;
    callTorch(owner, numThreads, [&] {
        const c10::AutoGradMode gradients(false);
        std::vector<at::Tensor> inputs = {asTensor(positions)};
        if (takesPotential)
            inputs.push_back(asTensor(potential));
        std::vector<at::Tensor> outputs = loader->native.boxed_run(std::move(inputs));
        if (outputs.size() != numOutputs)
            throw OpenMMException(owner + ": the compiled package " + package + " returns " +
                                  std::to_string(outputs.size()) + " values, its archive " +
                                  std::to_string(numOutputs) + remedy);
        result = asResult(outputs, positions.size(), owner);
    });
    return result;
}

void CompiledModel::compare(TorchScriptModel &original, size_t numAtoms) {
    const std::vector<Vec3> positions = trialGeometry(numAtoms);
    std::vector<double> potential;
    for (size_t i = 0; i < numAtoms; i++)
        potential.push_back(100.0 * std::sin(static_cast<double>(i)));
    const Result expected = original.evaluate(positions, potential, 1);
    const Result compiled = evaluate(positions, potential, 1);
    double scale = 1, deviation = 0;
    for (size_t i = 0; i < numAtoms; i++) {
        const Vec3 difference = compiled.forces[i] - expected.forces[i];
        scale = std::max(scale, std::sqrt(expected.forces[i].dot(expected.forces[i])));
        deviation = std::max(deviation, std::sqrt(difference.dot(difference)));
    }
    // Repulsion that all models share dominates the forces of this geometry; charges tell trained models apart better.
    double chargeScale = 1, chargeDeviation = 0;
    for (size_t i = 0; i < expected.charges.size(); i++) {
        chargeScale = std::max(chargeScale, std::abs(expected.charges[i]));
        chargeDeviation = std::max(chargeDeviation, std::abs(compiled.charges[i] - expected.charges[i]));
    }
    // Round-off of single precision is some 1e-7.
    constexpr double tolerance = 1e-5;
    if (!(deviation <= tolerance * scale) || !(chargeDeviation <= tolerance * chargeScale))
        throw OpenMMException(owner + ": the compiled package " + package +
                              " does not give the forces of the archive: it was made from another one" + remedy);
}

} // namespace KStep
