#include "Arrays.h"
#include "openmmkstep/QMEngine.h"
#include <memory>
#include <pybind11/stl.h>
#include <string>

namespace py = pybind11;
using OpenMM::Vec3;
using std::string;
using std::vector;

namespace KStep::bindings {

namespace {

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;

/** A QM engine of the plugin for one molecule, called without a Context. Python is not locked while it calculates. */
class NativeEngine {
public:
    NativeEngine(const string &name, const string &settings, vector<int> numbers, int charge, int multiplicity)
        : numAtoms(numbers.size()), engine(QMEngineRegistry::createEngine(name, settings)) {
        engine->initialize({std::move(numbers), charge, multiplicity});
    }

    py::dict compute(const Doubles &positions, const Doubles &chargePositions, const vector<double> &charges,
                     const vector<bool> &needsPotential) {
        QMInput input;
        input.positions = toVectors(positions, "positions");
        input.chargePositions = toVectors(chargePositions, "charge_positions");
        input.charges = charges;
        input.needsPotential.assign(needsPotential.begin(), needsPotential.end());
        checkSize("positions", input.positions.size(), numAtoms);
        checkSize("charge_positions", input.chargePositions.size(), charges.size());
        checkSize("needs_potential", needsPotential.size(), charges.size());
        QMOutput output;
        {
            const py::gil_scoped_release unlocked;
            engine->compute(input, output);
        }
        py::dict result;
        result["energy"] = output.energy;
        result["gradient"] = toArray(output.gradient);
        result["charge_gradient"] = toArray(output.chargeGradient);
        result["potential_at_charges"] = toArray(output.potentialAtCharges);
        result["atomic_charges"] = toArray(output.atomicCharges);
        result["dipole"] = toArray(vector<double>{output.dipole[0], output.dipole[1], output.dipole[2]});
        result["iterations"] = output.iterations;
        return result;
    }

    py::object getOrbitals() {
        std::optional<QMOrbitals> orbitals;
        {
            const py::gil_scoped_release unlocked;
            orbitals = engine->getOrbitals();
        }
        if (!orbitals)
            return py::none();
        return py::make_tuple(toArray(orbitals->energies), toArray(orbitals->occupations));
    }

    void reset() {
        const py::gil_scoped_release unlocked;
        engine->reset();
    }

private:
    static void checkSize(const char *name, size_t actual, size_t expected) {
        if (actual != expected)
            throw py::value_error(string(name) + " has " + std::to_string(actual) + " entries, there must be " +
                                  std::to_string(expected));
    }

    size_t numAtoms;
    std::unique_ptr<QMEngine> engine;
};

} // namespace

void bindNativeEngine(py::module_ &module) {
    py::class_<NativeEngine>(module, "NativeEngine")
        .def(py::init<string, string, vector<int>, int, int>(), py::arg("name"), py::arg("settings"),
             py::arg("numbers"), py::arg("charge"), py::arg("multiplicity"))
        .def("compute", &NativeEngine::compute, py::arg("positions"), py::arg("charge_positions"), py::arg("charges"),
             py::arg("needs_potential"))
        .def("getOrbitals", &NativeEngine::getOrbitals)
        .def("reset", &NativeEngine::reset);
}

} // namespace KStep::bindings
