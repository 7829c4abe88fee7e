#include "Arrays.h"
#include "openmmkstep/ElectronDynamicsModel.h"
#include <algorithm>
#include <pybind11/complex.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

namespace py = pybind11;
using OpenMM::Vec3;
using std::vector;

namespace KStep::bindings {

namespace {

using Complex = std::complex<double>;
template <class T> using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;
using Model = ElectronDynamicsModel;

template <class T> vector<T> listed(const Array<T> &array) {
    return vector<T>(array.data(), array.data() + array.size());
}

template <class T> Array<T> shaped(const vector<T> &values, const vector<py::ssize_t> &shape) {
    Array<T> result(shape);
    if (static_cast<py::ssize_t>(values.size()) != result.size())
        throw py::value_error("values of another size than expected");
    std::copy(values.begin(), values.end(), result.mutable_data());
    return result;
}

py::tuple computeResponse(Model &model, const vector<int> &numbers, const Array<double> &positions) {
    const Model::Response result = model.computeResponse(numbers, toVectors(positions, "positions"));
    const py::ssize_t size = result.numFunctions;
    return py::make_tuple(shaped(result.response, {size, size}), shaped(result.density, {size}));
}

void setGroundState(Model &model, const Array<double> &fock, const Array<Complex> &orbitals,
                    const Array<double> &position, const Array<double> &realResponse,
                    const Array<double> &imaginaryResponse, double energy, const Array<double> &dipole) {
    if (orbitals.ndim() != 2)
        throw py::value_error("orbitals must be a matrix [functions, occupied]");
    Model::GroundState ground;
    ground.numFunctions = static_cast<int>(orbitals.shape(0));
    ground.numOccupied = static_cast<int>(orbitals.shape(1));
    ground.fock = listed(fock);
    ground.orbitals = listed(orbitals);
    ground.position = listed(position);
    ground.realResponse = listed(realResponse);
    ground.imaginaryResponse = listed(imaginaryResponse);
    ground.energy = energy;
    const vector<Vec3> moments = toVectors(dipole, "dipole");
    if (moments.size() != 1)
        throw py::value_error("dipole must have three components");
    ground.dipole = moments[0];
    model.setGroundState(ground);
}

/** Orbitals [n,o] and history [h,n,n] of a state. */
py::tuple stateArrays(const Model::State &state, py::ssize_t n) {
    const auto occupied = static_cast<py::ssize_t>(state.orbitals.size()) / n;
    const auto kept = static_cast<py::ssize_t>(state.history.size()) / (n * n);
    return py::make_tuple(shaped(state.orbitals, {n, occupied}), shaped(state.history, {kept, n, n}));
}

py::tuple start(Model &model, const Array<Complex> &orbitals) {
    if (orbitals.ndim() != 2)
        throw py::value_error("orbitals must be a matrix [functions, occupied]");
    return stateArrays(model.start(listed(orbitals)), orbitals.shape(0));
}

py::tuple advance(Model &model, const Array<Complex> &orbitals, const Array<Complex> &history,
                  const std::string &scheme, const Array<double> &fields, double timeStep, double tolerance,
                  int maxIterations) {
    if (orbitals.ndim() != 2)
        throw py::value_error("orbitals must be a matrix [functions, occupied]");
    Model::State state = {listed(orbitals), listed(history)};
    const Model::Series series =
        model.advance(state, scheme, toVectors(fields, "fields"), timeStep, tolerance, maxIterations);
    const auto steps = static_cast<py::ssize_t>(series.energies.size());
    const py::tuple arrays = stateArrays(state, orbitals.shape(0));
    return py::make_tuple(arrays[0], arrays[1], toArray(series.dipoles), shaped(series.energies, {steps}),
                          shaped(series.fockBuilds, {steps}));
}

} // namespace

void bindElectronDynamicsModel(py::module_ &module) {
    py::class_<Model>(module, "ElectronDynamicsModel")
        .def(py::init([](const py::bytes &archive) { return std::make_unique<Model>(archive); }), py::arg("archive"))
        .def("getContract", &Model::getContract)
        .def("getNumThreads", &Model::getNumThreads)
        .def("setNumThreads", &Model::setNumThreads, py::arg("number"))
        .def("computeResponse", &computeResponse, py::arg("atomicNumbers"), py::arg("positions"))
        .def("setGroundState", &setGroundState, py::arg("fock"), py::arg("orbitals"), py::arg("position"),
             py::arg("realResponse"), py::arg("imaginaryResponse"), py::arg("energy"), py::arg("dipole"))
        .def("getFieldFractions", &Model::getFieldFractions, py::arg("scheme"))
        .def("start", &start, py::arg("orbitals"))
        .def("advance", &advance, py::arg("orbitals"), py::arg("history"), py::arg("scheme"), py::arg("fields"),
             py::arg("timeStep"), py::arg("tolerance") = 1e-9, py::arg("maxIterations") = 30);
}

} // namespace KStep::bindings
