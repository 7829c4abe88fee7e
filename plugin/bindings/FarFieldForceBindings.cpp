#include "QMRegionBindings.h"
#include "SwigTransfer.h"
#include "openmmkstep/FarFieldForce.h"
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

namespace py = pybind11;

namespace KStep::bindings {

namespace {

FarFieldForce &farFieldOf(py::handle object) {
    return unwrap<FarFieldForce, OpenMM::Force>(object, "FarFieldForce");
}

FarFieldForce *makeFarField(const QMRegion &region, const EmbeddingCharges &embedding,
                            const std::vector<int> &particles, const std::vector<double> &charges) {
    if (charges.size() != particles.size())
        throw py::value_error("there must be as many charges of the region as particles that carry them");
    auto force = std::make_unique<FarFieldForce>(region, embedding);
    for (size_t i = 0; i < particles.size(); i++)
        force->addRegionCharge(particles[i], charges[i]);
    return force.release();
}

/** Particles and charges as arrays. */
py::tuple listRegionCharges(const FarFieldForce &force) {
    const int n = force.getNumRegionCharges();
    py::array_t<int> particles(n);
    py::array_t<double> charges(n);
    for (int i = 0; i < n; i++)
        force.getRegionChargeParameters(i, particles.mutable_at(i), charges.mutable_at(i));
    return py::make_tuple(particles, charges);
}

} // namespace

void bindFarFieldForce(py::module_ &module) {
    module.def(
        "FarFieldForce_create",
        [](const QMRegion &region, const EmbeddingCharges &embedding, const std::vector<int> &particles,
           const std::vector<double> &charges) {
            return transfer(static_cast<OpenMM::Force *>(makeFarField(region, embedding, particles, charges)));
        },
        py::arg("region"), py::arg("embedding"), py::arg("particles"), py::arg("charges"));
    module.def(
        "FarFieldForce_isInstance",
        [](py::handle object) { return find<FarFieldForce, OpenMM::Force>(object) != nullptr; }, py::arg("wrapped"));
    module.def(
        "FarFieldForce_getRegion", [](py::handle object) { return farFieldOf(object).getRegion(); }, py::arg("force"));
    module.def(
        "FarFieldForce_getEmbeddingCharges", [](py::handle object) { return farFieldOf(object).getEmbeddingCharges(); },
        py::arg("force"));
    module.def(
        "FarFieldForce_getRegionCharges", [](py::handle object) { return listRegionCharges(farFieldOf(object)); },
        py::arg("force"));
}

} // namespace KStep::bindings
