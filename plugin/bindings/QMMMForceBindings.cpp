#include "Arrays.h"
#include "QMRegionBindings.h"
#include "SwigTransfer.h"
#include "openmmkstep/FarFieldForce.h"
#include "openmmkstep/QMEngine.h"
#include "openmmkstep/QMMMForce.h"
#include <memory>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

namespace py = pybind11;
using OpenMM::Vec3;
using std::vector;

namespace KStep::bindings {

namespace {

QMMMForce &unwrapForce(py::handle object) {
    return unwrap<QMMMForce, OpenMM::Force>(object, "QMMMForce");
}

py::dict toDict(const QMMMResult &result) {
    py::dict dict;
    dict["energy"] = result.energy;
    dict["numbers"] = toArray(result.siteNumbers);
    dict["positions"] = toArray(result.sitePositions);
    dict["forces"] = toArray(result.siteForces);
    dict["charges"] = toArray(result.siteCharges);
    dict["dipole"] = toArray(vector<double>{result.dipole[0], result.dipole[1], result.dipole[2]});
    dict["potential"] = toArray(result.potential);
    dict["potentialGradient"] = toArray(result.potentialGradient);
    dict["environmentParticles"] = toArray(result.environmentParticles);
    dict["environmentCharges"] = toArray(result.environmentCharges);
    dict["environmentPositions"] = toArray(result.environmentPositions);
    dict["environmentForces"] = toArray(result.environmentForces);
    dict["iterations"] = result.iterations;
    dict["attempts"] = result.attempts;
    return dict;
}

py::dict toDict(const QMMMQuestion &question) {
    py::dict dict;
    dict["numbers"] = toArray(question.siteNumbers);
    dict["positions"] = toArray(question.sitePositions);
    dict["environmentCharges"] = toArray(question.environmentCharges);
    dict["environmentPositions"] = toArray(question.environmentPositions);
    dict["failure"] = question.failure;
    return dict;
}

} // namespace

void bindQMMMForce(py::module_ &module) {
    module.def(
        "QMMMForce_create",
        [](const QMRegion &region, const std::string &engine, const std::string &settings,
           const EmbeddingCharges &charges) { return transfer(new QMMMForce(region, engine, settings, charges)); },
        py::arg("region"), py::arg("engine"), py::arg("settings"), py::arg("charges"));
    module.def(
        "QMMMForce_createWithFarField",
        [](const QMRegion &region, const std::string &engine, const std::string &settings,
           const EmbeddingCharges &charges, py::handle farField) {
            const FarFieldForce &beside = unwrap<FarFieldForce, OpenMM::Force>(farField, "FarFieldForce");
            auto force = std::make_unique<QMMMForce>(region, engine, settings, charges);
            force->setFarField(beside.getEmbeddingCharges(), beside.getRegionCharges());
            return transfer(force.release());
        },
        py::arg("region"), py::arg("engine"), py::arg("settings"), py::arg("charges"), py::arg("farField"));
    module.def("QMMMForce_hasFarField", [](py::handle f) { return unwrapForce(f).hasFarField(); }, py::arg("force"));
    module.def(
        "QMMMForce_isInstance", [](py::handle object) { return find<QMMMForce, OpenMM::Force>(object) != nullptr; },
        py::arg("wrapped"));
    module.def("QMMMForce_getRegion", [](py::handle f) { return unwrapForce(f).getRegion(); }, py::arg("force"));
    module.def("QMMMForce_getEngine", [](py::handle f) { return unwrapForce(f).getEngine(); }, py::arg("force"));
    module.def(
        "QMMMForce_getEngineSettings", [](py::handle f) { return unwrapForce(f).getEngineSettings(); },
        py::arg("force"));
    module.def(
        "QMMMForce_getEmbeddingCharges", [](py::handle f) { return unwrapForce(f).getEmbeddingCharges(); },
        py::arg("force"));
    module.def(
        "QMMMForce_getLastResult",
        [](py::handle f, py::handle c) { return toDict(unwrapForce(f).getLastResult(unwrapContext(c))); },
        py::arg("force"), py::arg("context"));
    module.def(
        "QMMMForce_getLastQuestion",
        [](py::handle f, py::handle c) { return toDict(unwrapForce(f).getLastQuestion(unwrapContext(c))); },
        py::arg("force"), py::arg("context"));
    module.def(
        "QMMMForce_getNumCalls",
        [](py::handle f, py::handle c) { return unwrapForce(f).getNumCalls(unwrapContext(c)); }, py::arg("force"),
        py::arg("context"));
    module.def(
        "QMMMForce_getTime", [](py::handle f, py::handle c) { return unwrapForce(f).getTime(unwrapContext(c)); },
        py::arg("force"), py::arg("context"));
    module.def(
        "QMMMForce_reset", [](py::handle f, py::handle c) { unwrapForce(f).reset(unwrapContext(c)); }, py::arg("force"),
        py::arg("context"));
    module.def("QMMMForce_getEngineNames", &QMEngineRegistry::getEngineNames);
}

} // namespace KStep::bindings
