#include "TorchScriptModel.h"
#include "openmm/OpenMMException.h"
#include <ATen/Parallel.h>
#include <cmath>
#include <sstream>
#include <torch/csrc/autograd/autograd.h>
#include <torch/script.h>

using OpenMM::OpenMMException;
using OpenMM::Vec3;

// The interpreter's lock, where the process is a Python one. This library does not depend on Python: outside it these
// are null.
extern "C" {
__attribute__((weak)) int PyGILState_Check();
__attribute__((weak)) void *PyEval_SaveThread();
__attribute__((weak)) void PyEval_RestoreThread(void *state);
}

namespace KStep {

namespace {

/** Sets torch's number of threads for one evaluation, and puts back what the user had. */
class ThreadCount {
public:
    explicit ThreadCount(int number) : previous(at::get_num_threads()) {
        if (number != previous)
            at::set_num_threads(number);
        changed = number != previous;
    }
    ~ThreadCount() {
        if (changed)
            at::set_num_threads(previous);
    }
    ThreadCount(const ThreadCount &) = delete;
    ThreadCount &operator=(const ThreadCount &) = delete;

private:
    int previous;
    bool changed;
};

/** torch refuses to differentiate while the interpreter's lock is held, and OpenMM's Context.getState() holds it. */
class InterpreterLockRelease {
public:
    InterpreterLockRelease() {
        if (PyGILState_Check != nullptr && PyEval_SaveThread != nullptr && PyGILState_Check() == 1)
            state = PyEval_SaveThread();
    }
    ~InterpreterLockRelease() {
        if (state != nullptr)
            PyEval_RestoreThread(state);
    }
    InterpreterLockRelease(const InterpreterLockRelease &) = delete;
    InterpreterLockRelease &operator=(const InterpreterLockRelease &) = delete;

private:
    void *state = nullptr;
};

torch::Tensor checked(const torch::Tensor &tensor, const char *name, const std::vector<int64_t> &shape) {
    if (tensor.sizes() != shape) {
        std::ostringstream text;
        text << "TorchScriptForce: the model returned " << name << " of shape " << tensor.sizes() << " instead of "
             << c10::IntArrayRef(shape);
        throw OpenMMException(text.str());
    }
    torch::Tensor result = tensor.detach().to(torch::kFloat64).contiguous();
    const double *data = result.data_ptr<double>();
    for (int64_t i = 0; i < result.numel(); i++)
        if (!std::isfinite(data[i]))
            throw OpenMMException(std::string("TorchScriptForce: the model returned ") + name +
                                  " that are not finite; are the positions far outside its training data?");
    return result;
}

std::vector<Vec3> asVectors(const torch::Tensor &tensor) {
    const auto *data = reinterpret_cast<const Vec3 *>(tensor.data_ptr<double>());
    return {data, data + tensor.size(0)};
}

} // namespace

struct TorchScriptModel::Module {
    torch::jit::Module script;
};

TorchScriptModel::TorchScriptModel(const std::string &archive) : module(std::make_unique<Module>()) {
    std::istringstream stream(archive);
    torch::jit::ExtraFilesMap files = {{"contract.json", ""}};
    try {
        module->script = torch::jit::load(stream, c10::Device(c10::kCPU), files);
    } catch (const std::exception &error) {
        const auto *torchError = dynamic_cast<const c10::Error *>(&error);
        throw OpenMMException(std::string("TorchScriptForce: this is not a TorchScript archive that can be loaded: ") +
                              (torchError ? torchError->what_without_backtrace() : error.what()));
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

TorchScriptModel::Result TorchScriptModel::evaluate(const std::vector<Vec3> &positions,
                                                    const std::vector<double> &potential, int numThreads) {
    try {
        return call(positions, potential, numThreads);
    } catch (const c10::Error &error) {
        throw OpenMMException(std::string("TorchScriptForce: the model failed: ") + error.what_without_backtrace());
    } catch (const OpenMMException &) {
        throw;
    } catch (const std::exception &error) {
        throw OpenMMException(std::string("TorchScriptForce: the model failed: ") + error.what());
    }
}

TorchScriptModel::Result TorchScriptModel::call(const std::vector<Vec3> &positions,
                                                const std::vector<double> &potential, int numThreads) {
    static_assert(sizeof(Vec3) == 3 * sizeof(double));
    const InterpreterLockRelease unlocked;
    const ThreadCount threads(numThreads);
    const auto numAtoms = static_cast<int64_t>(positions.size());
    const auto options = torch::TensorOptions().dtype(torch::kFloat64);
    // The caller may be inside torch.no_grad(); modules differentiate themselves.
    const c10::AutoGradMode gradients(true);
    torch::Tensor x = torch::from_blob(const_cast<Vec3 *>(positions.data()), {numAtoms, 3}, options).clone();
    if (!contract.returnsForces)
        x.requires_grad_(true);
    std::vector<c10::IValue> inputs = {x};
    if (contract.takesPotential)
        inputs.emplace_back(torch::from_blob(const_cast<double *>(potential.data()), {numAtoms}, options).clone());
    const c10::IValue output = module->script.forward(inputs);

    Result result;
    if (!contract.returnsForces) {
        const torch::Tensor energy =
            output.isTuple() ? output.toTupleRef().elements()[0].toTensor() : output.toTensor();
        const torch::Tensor gradient = torch::autograd::grad({energy.sum()}, {x})[0];
        result.energy = checked(energy.reshape({}), "energies", {}).item<double>();
        result.forces = asVectors(checked(-gradient, "forces", {numAtoms, 3}));
        return result;
    }
    if (!output.isTuple() || output.toTupleRef().elements().size() < (contract.returnsCharges ? 3u : 2u))
        throw OpenMMException("TorchScriptForce: the model does not return the outputs that its contract names");
    const auto &elements = output.toTupleRef().elements();
    result.energy = checked(elements[0].toTensor().reshape({}), "energies", {}).item<double>();
    result.forces = asVectors(checked(elements[1].toTensor(), "forces", {numAtoms, 3}));
    if (contract.returnsCharges) {
        const torch::Tensor charges = checked(elements[2].toTensor(), "charges", {numAtoms});
        result.charges.assign(charges.data_ptr<double>(), charges.data_ptr<double>() + numAtoms);
    }
    return result;
}

void TorchScriptModel::warmUp(size_t numAtoms, int numThreads) {
    // Any geometry will do as long as no two atoms coincide: a zigzag with bond-like distances.
    std::vector<Vec3> positions;
    for (size_t i = 0; i < numAtoms; i++)
        positions.emplace_back(0.12 * static_cast<double>(i), 0.08 * static_cast<double>(i % 2),
                               0.05 * static_cast<double>(i % 3));
    const std::vector<double> potential(numAtoms, 0.0);
    constexpr int callsUntilOptimised = 4;
    for (int i = 0; i < callsUntilOptimised; i++)
        evaluate(positions, potential, numThreads);
}

} // namespace KStep
