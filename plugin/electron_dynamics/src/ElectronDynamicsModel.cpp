#include "openmmkstep/ElectronDynamicsModel.h"
#include "FxcContract.h"
#include "openmm/OpenMMException.h"
#include "torch/LoadedArchive.h"
#include "torch/TorchCalls.h"
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/script.h>

using OpenMM::OpenMMException;
using OpenMM::Vec3;
using std::string;
using std::vector;
using Complex = std::complex<double>;

namespace KStep {

namespace {

const string owner = "ElectronDynamicsModel";
const char *const stepsName = "time_steps";

[[noreturn]] void refuse(const string &reason) {
    throw OpenMMException(owner + ": " + reason);
}

/** Numbers as a tensor of a shape, which their count must agree with. */
template <class T> at::Tensor shaped(const vector<T> &values, const vector<int64_t> &shape, const string &name) {
    int64_t expected = 1;
    for (int64_t length : shape)
        expected *= length;
    if (static_cast<int64_t>(values.size()) != expected)
        refuse(name + " must have " + std::to_string(expected) + " elements, not " + std::to_string(values.size()));
    const auto type = std::is_same_v<T, Complex> ? at::kComplexDouble : at::kDouble;
    return at::from_blob(const_cast<T *>(values.data()), shape, at::TensorOptions().dtype(type)).clone();
}

at::Tensor shaped(const vector<Vec3> &vectors, const vector<int64_t> &shape) {
    return asTensor(vectors).reshape(shape);
}

template <class T> vector<T> listed(const at::Tensor &tensor) {
    const auto type = std::is_same_v<T, Complex> ? at::kComplexDouble : at::kDouble;
    const at::Tensor plain = tensor.detach().to(type).resolve_conj().contiguous();
    const auto *data = static_cast<const T *>(plain.const_data_ptr());
    return vector<T>(data, data + plain.numel());
}

vector<Vec3> listedVectors(const at::Tensor &tensor) {
    const vector<double> numbers = listed<double>(tensor);
    vector<Vec3> result;
    for (size_t i = 0; i + 2 < numbers.size(); i += 3)
        result.emplace_back(numbers[i], numbers[i + 1], numbers[i + 2]);
    return result;
}

at::Tensor element(const c10::IValue &tuple, size_t index) {
    return tuple.toTupleRef().elements().at(index).toTensor();
}

} // namespace

struct ElectronDynamicsModel::Implementation {
    torch::jit::Module network, steps;
    FxcContract contract;
    /** What the archive's prepare() returns; only the archive knows what is in it. */
    c10::IValue system;
    int64_t numFunctions = 0, numOccupied = 0;

    /** Call a method of the time steps. */
    c10::IValue call(const char *method, vector<c10::IValue> arguments, int numThreads) {
        c10::IValue result;
        callTorch(owner, numThreads, [&] {
            const c10::InferenceMode inference;
            // There is nothing to fuse, and no warm-up this way.
            const torch::jit::GraphOptimizerEnabledGuard optimizer(false);
            result = steps.get_method(method)(std::move(arguments));
        });
        return result;
    }
};

ElectronDynamicsModel::ElectronDynamicsModel(const string &archive)
    : implementation(std::make_unique<Implementation>()) {
    implementation->network = loadArchive(archive, owner, contractText);
    implementation->contract = FxcContract::parse(contractText);
    if (!implementation->network.hasattr(stepsName) || !implementation->network.attr(stepsName).isModule())
        refuse("the archive has no time steps; export the model again with kstep_models.rttddft.export");
    implementation->steps = implementation->network.attr(stepsName).toModule();
    for (const char *method : {"prepare", "start", "advance", "field_fractions"})
        if (!implementation->steps.find_method(method))
            refuse("the time steps of the archive lack " + string(method) +
                   "(); export the model again with kstep_models.rttddft.export");
}

ElectronDynamicsModel::~ElectronDynamicsModel() = default;

void ElectronDynamicsModel::setNumThreads(int number) {
    if (number < 1)
        refuse("the number of threads must be at least 1, not " + std::to_string(number));
    numThreads = number;
}

ElectronDynamicsModel::Response ElectronDynamicsModel::computeResponse(const vector<int> &atomicNumbers,
                                                                       const vector<Vec3> &positions) {
    if (atomicNumbers.empty() || atomicNumbers.size() != positions.size())
        refuse(std::to_string(atomicNumbers.size()) + " atomic numbers but " + std::to_string(positions.size()) +
               " positions were given");
    implementation->contract.checkAtoms(atomicNumbers);
    const int64_t size = implementation->contract.countFunctions(atomicNumbers);
    const at::Tensor numbers =
        at::tensor(vector<int64_t>(atomicNumbers.begin(), atomicNumbers.end()), at::TensorOptions().dtype(at::kLong));
    Response result;
    result.numFunctions = static_cast<int>(size);
    callTorch(owner, numThreads, [&] {
        const c10::AutoGradMode gradients(false);
        // Optimised, the first two calls take half a minute each, and later ones are no faster.
        const torch::jit::GraphOptimizerEnabledGuard optimizer(false);
        const c10::IValue output = implementation->network.forward({numbers, asTensor(positions)});
        if (!output.isTuple() || output.toTupleRef().elements().size() != 2)
            refuse("the model does not return the outputs that its contract names");
        result.response = listed<double>(checkedOutput(element(output, 0), "responses", {size, size}, owner));
        result.density = listed<double>(checkedOutput(element(output, 1), "densities", {size}, owner));
    });
    return result;
}

void ElectronDynamicsModel::setGroundState(const GroundState &ground) {
    const int64_t n = ground.numFunctions, o = ground.numOccupied;
    if (n < 1 || o < 1 || o > n)
        refuse(std::to_string(o) + " occupied orbitals of " + std::to_string(n) + " functions are impossible");
    const int64_t pairs = n * (n + 1) / 2;
    const int64_t strictPairs = ground.imaginaryResponse.empty() ? 0 : n * (n - 1) / 2;
    vector<c10::IValue> arguments = {
        shaped(ground.fock, {n, n}, "fock"),
        shaped(ground.orbitals, {n, o}, "orbitals"),
        shaped(ground.position, {3, n, n}, "position"),
        shaped(ground.realResponse, {pairs, pairs}, "realResponse"),
        shaped(ground.imaginaryResponse, {strictPairs, strictPairs}, "imaginaryResponse"),
        at::scalar_tensor(ground.energy, at::TensorOptions().dtype(at::kDouble)),
        shaped(vector<Vec3>{ground.dipole}, {3}),
    };
    implementation->system = implementation->call("prepare", std::move(arguments), numThreads);
    implementation->numFunctions = n;
    implementation->numOccupied = o;
}

vector<double> ElectronDynamicsModel::getFieldFractions(const string &scheme) {
    return implementation->call("field_fractions", {scheme}, numThreads).toDoubleVector();
}

ElectronDynamicsModel::State ElectronDynamicsModel::start(const vector<Complex> &orbitals) {
    requireGroundState();
    const at::Tensor first = shaped(orbitals, {implementation->numFunctions, implementation->numOccupied}, "orbitals");
    const c10::IValue result = implementation->call("start", {implementation->system, first}, numThreads);
    return {listed<Complex>(element(result, 0)), listed<Complex>(element(result, 1))};
}

ElectronDynamicsModel::Series ElectronDynamicsModel::advance(State &state, const string &scheme,
                                                             const vector<Vec3> &fields, double timeStep,
                                                             double tolerance, int maxIterations) {
    requireGroundState();
    const int64_t n = implementation->numFunctions, o = implementation->numOccupied;
    const auto perStep = static_cast<int64_t>(getFieldFractions(scheme).size());
    const auto count = static_cast<int64_t>(fields.size());
    if (count % perStep != 0)
        refuse(std::to_string(count) + " fields were given, but each step of " + scheme + " needs " +
               std::to_string(perStep));
    const int64_t kept = static_cast<int64_t>(state.history.size()) / (n * n);
    vector<c10::IValue> arguments = {
        implementation->system,
        scheme,
        shaped(state.orbitals, {n, o}, "orbitals"),
        shaped(state.history, {kept, n, n}, "history"),
        shaped(fields, {count / perStep, perStep, 3}),
        timeStep,
        tolerance,
        static_cast<int64_t>(maxIterations),
    };
    const c10::IValue result = implementation->call("advance", std::move(arguments), numThreads);
    State next = {listed<Complex>(element(result, 0)), listed<Complex>(element(result, 1))};
    Series series;
    series.dipoles = listedVectors(element(result, 2));
    series.energies = listed<double>(element(result, 3));
    for (double number : listed<double>(element(result, 4)))
        series.fockBuilds.push_back(static_cast<int>(number));
    state = std::move(next);
    return series;
}

void ElectronDynamicsModel::requireGroundState() const {
    if (implementation->numFunctions == 0)
        refuse("there are no electrons to move; call setGroundState() first");
}

} // namespace KStep
