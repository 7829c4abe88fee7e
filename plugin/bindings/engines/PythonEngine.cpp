#include "PythonEngine.h"
#include "Arrays.h"
#include "InterruptionBindings.h"
#include "openmm/OpenMMException.h"
#include "openmmkstep/QMEngine.h"
#include "openmmkstep/internal/Interruption.h"
#include "openmmkstep/internal/XTBLocation.h"
#include <pybind11/stl.h>

namespace py = pybind11;
using OpenMM::OpenMMException;
using OpenMM::Vec3;
using std::string;
using std::vector;

namespace KStep::bindings {

namespace {

py::object registry() {
    return py::module_::import("openmmkstep.engines.registry");
}

/** Call Python with its lock held; an exception there becomes one of OpenMM. */
template <class Function> auto callPython(Function function) {
    const Interruption::Watch watch;
    const py::gil_scoped_acquire locked;
    try {
        return function();
    } catch (py::error_already_set &error) {
        if (!error.matches(PyExc_Exception)) {
            keepInterruption(error);
            throw InterruptedException();
        }
        const string type = py::str(error.type().attr("__name__"));
        const string message = py::str(error.value());
        throw OpenMMException(message.empty() ? type + " without a message" : message);
    }
}

/** A QM engine written in Python: an object with the methods of openmmkstep.engines.QMEngine. */
class PythonEngine : public QMEngine {
public:
    PythonEngine(const string &name, const string &settings) : name(name), settings(settings) {}
    PythonEngine(const PythonEngine &) = delete;
    PythonEngine &operator=(const PythonEngine &) = delete;
    ~PythonEngine() override {
        if (Py_IsInitialized() != 0) {
            const py::gil_scoped_acquire locked;
            engine = py::object();
        } else
            engine.release(); // the interpreter has taken it along
    }

    void initialize(const QMMolecule &molecule) override {
        callPython([&] {
            engine = registry().attr("create_engine")(name, settings, toArray(molecule.atomicNumbers), molecule.charge,
                                                      molecule.multiplicity);
        });
        numAtoms = molecule.atomicNumbers.size();
    }

    void compute(const QMInput &input, QMOutput &output) override {
        callPython([&] {
            vector<bool> needed(input.needsPotential.begin(), input.needsPotential.end());
            const py::object needs = py::module_::import("numpy").attr("array")(py::cast(needed), "bool");
            const py::object result = engine.attr("compute")(toArray(input.positions), toArray(input.chargePositions),
                                                             toArray(input.charges), needs);
            const size_t numCharges = input.charges.size();
            output.energy = result.attr("energy").cast<double>();
            output.gradient = vectorsOf(result, "gradient", numAtoms);
            output.chargeGradient = vectorsOf(result, "charge_gradient", numCharges);
            output.potentialAtCharges = numbersOf(result, "potential_at_charges", numCharges);
            output.atomicCharges = numbersOf(result, "atomic_charges", numAtoms);
            output.dipole = vectorsOf(result, "dipole", 1)[0];
            output.iterations = result.attr("iterations").cast<int>();
            output.attempts = 1;
        });
    }

    void reset() override {
        callPython([&] { engine.attr("reset")(); });
    }

    string getMemory() override {
        return callPython([&] { return engine.attr("memory")().cast<string>(); });
    }

    void recall(const string &memory) override {
        callPython([&] { engine.attr("recall")(py::bytes(memory)); });
    }

private:
    using Array = py::array_t<double, py::array::c_style | py::array::forcecast>;

    vector<Vec3> vectorsOf(const py::object &result, const char *attribute, size_t expected) const {
        const auto values = numbersOf(result, attribute, 3 * expected);
        vector<Vec3> vectors;
        for (size_t i = 0; i < expected; i++)
            vectors.emplace_back(values[3 * i], values[3 * i + 1], values[3 * i + 2]);
        return vectors;
    }

    vector<double> numbersOf(const py::object &result, const char *attribute, size_t expected) const {
        const Array array(py::object(result.attr(attribute)));
        if (static_cast<size_t>(array.size()) != expected)
            throw OpenMMException("QM engine '" + name + "': " + attribute + " has " + std::to_string(array.size()) +
                                  " numbers, there must be " + std::to_string(expected));
        return vector<double>(array.data(), array.data() + array.size());
    }

    string name, settings;
    py::object engine;
    size_t numAtoms = 0;
};

} // namespace

void bindEngines(py::module_ &module) {
    // The engines in this library, without those in Python.
    module.def("QMEngineRegistry_getNativeNames", &QMEngineRegistry::getNativeNames);
    module.def("XTB_useLibrary", &useXTBLibrary, py::arg("path"));
    QMEngineRegistry::setForeignEngines(
        [] { return callPython([] { return registry().attr("names_in_python")().cast<vector<string>>(); }); },
        [](const string &name, const string &settings) { return std::make_unique<PythonEngine>(name, settings); });
}

} // namespace KStep::bindings
