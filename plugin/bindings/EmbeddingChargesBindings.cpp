#include "EmbeddingChargesBindings.h"
#include "openmmkstep/EmbeddingCharges.h"
#include <pybind11/numpy.h>
#include <pybind11/stl.h>
#include <tuple>

namespace py = pybind11;
using std::vector;

namespace KStep::bindings {

namespace {

/** first particle, second particle, weight, charge, group */
using BondCharge = std::tuple<int, int, double, double, int>;

EmbeddingCharges makeCharges(const vector<int> &particles, const vector<double> &charges, const vector<int> &groups,
                             double cutoff, double switchingDistance, bool periodic,
                             const vector<BondCharge> &bondCharges) {
    if (charges.size() != particles.size() || groups.size() != particles.size())
        throw py::value_error("there must be as many charges and groups as particles");
    EmbeddingCharges embedding;
    for (size_t i = 0; i < particles.size(); i++)
        embedding.addCharge(particles[i], charges[i], groups[i]);
    for (const auto &[particle1, particle2, weight, charge, group] : bondCharges)
        embedding.addBondCharge(particle1, particle2, weight, charge, group);
    embedding.setCutoffDistance(cutoff);
    embedding.setSwitchingDistance(switchingDistance);
    embedding.setUsesPeriodicBoundaryConditions(periodic);
    return embedding;
}

/** Particles, charges and groups as arrays. */
py::tuple listCharges(const EmbeddingCharges &embedding) {
    const int n = embedding.getNumCharges();
    py::array_t<int> particles(n), groups(n);
    py::array_t<double> charges(n);
    for (int i = 0; i < n; i++)
        embedding.getChargeParameters(i, particles.mutable_at(i), charges.mutable_at(i), groups.mutable_at(i));
    return py::make_tuple(particles, charges, groups);
}

vector<BondCharge> listBondCharges(const EmbeddingCharges &embedding) {
    vector<BondCharge> list(embedding.getNumBondCharges());
    for (int i = 0; i < embedding.getNumBondCharges(); i++) {
        auto &[particle1, particle2, weight, charge, group] = list[i];
        embedding.getBondChargeParameters(i, particle1, particle2, weight, charge, group);
    }
    return list;
}

} // namespace

void bindEmbeddingCharges(py::module_ &module) {
    py::class_<EmbeddingCharges>(module, "EmbeddingCharges")
        .def(py::init<>())
        .def(py::init(&makeCharges), py::arg("particles"), py::arg("charges"), py::arg("groups"),
             py::arg("cutoff") = 0.0, py::arg("switchingDistance") = 0.0, py::arg("periodic") = false,
             py::arg("bondCharges") = vector<BondCharge>())
        .def("getCharges", &listCharges)
        .def("getBondCharges", &listBondCharges)
        .def("getNumCharges", &EmbeddingCharges::getNumCharges)
        .def("getCutoffDistance", &EmbeddingCharges::getCutoffDistance)
        .def("getSwitchingDistance", &EmbeddingCharges::getSwitchingDistance)
        .def("usesPeriodicBoundaryConditions", &EmbeddingCharges::usesPeriodicBoundaryConditions)
        .def(
            "equals", [](const EmbeddingCharges &charges, const EmbeddingCharges &other) { return charges == other; },
            py::arg("other"));
}

} // namespace KStep::bindings
