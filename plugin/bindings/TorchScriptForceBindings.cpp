#include "QMRegionBindings.h"
#include "SwigTransfer.h"
#include "openmmkstep/TorchScriptForce.h"
#include <pybind11/stl.h>

namespace py = pybind11;

namespace KStep::bindings {

namespace {

TorchScriptForce &forceOf(py::handle object) {
    return unwrap<TorchScriptForce, OpenMM::Force>(object, "TorchScriptForce");
}

} // namespace

void bindTorchScriptForce(py::module_ &module) {
    module.def(
        "TorchScriptForce_create",
        [](const py::bytes &archive, const QMRegion &region) {
            return transfer(static_cast<OpenMM::Force *>(new TorchScriptForce(archive, region)));
        },
        py::arg("archive"), py::arg("region"));
    module.def(
        "TorchScriptForce_isInstance",
        [](py::handle object) { return find<TorchScriptForce, OpenMM::Force>(object) != nullptr; }, py::arg("wrapped"));
    module.def(
        "TorchScriptForce_getArchive", [](py::handle object) { return py::bytes(forceOf(object).getArchive()); },
        py::arg("force"));
    module.def(
        "TorchScriptForce_getContract", [](py::handle object) { return forceOf(object).getContract(); },
        py::arg("force"));
    module.def(
        "TorchScriptForce_getRegion", [](py::handle object) { return forceOf(object).getRegion(); }, py::arg("force"));
    module.def(
        "TorchScriptForce_getEmbeddingCharges", [](py::handle object) { return forceOf(object).getEmbeddingCharges(); },
        py::arg("force"));
    module.def(
        "TorchScriptForce_setEmbeddingCharges",
        [](py::handle object, const EmbeddingCharges &charges) { forceOf(object).setEmbeddingCharges(charges); },
        py::arg("force"), py::arg("charges"));
    module.def(
        "TorchScriptForce_getNumThreads", [](py::handle object) { return forceOf(object).getNumThreads(); },
        py::arg("force"));
    module.def(
        "TorchScriptForce_setNumThreads", [](py::handle object, int number) { forceOf(object).setNumThreads(number); },
        py::arg("force"), py::arg("number"));
    module.def(
        "TorchScriptForce_getCompiledPackage", [](py::handle object) { return forceOf(object).getCompiledPackage(); },
        py::arg("force"));
    module.def(
        "TorchScriptForce_setCompiledPackage",
        [](py::handle object, const std::string &path) { forceOf(object).setCompiledPackage(path); }, py::arg("force"),
        py::arg("path"));
}

} // namespace KStep::bindings
