#include "EmbeddingChargesBindings.h"
#include "QMRegionBindings.h"
#include "SwigTransfer.h"
#include "engines/PythonEngine.h"
#include "openmm/OpenMMException.h"

namespace KStep::bindings {
void bindElectronDynamicsModel(pybind11::module_ &module);
void bindFarFieldForce(pybind11::module_ &module);
void bindInterruption(pybind11::module_ &module);
void bindKStepIntegrator(pybind11::module_ &module);
void bindNativeEngine(pybind11::module_ &module);
void bindTorchScriptForce(pybind11::module_ &module);
void bindQMMMForce(pybind11::module_ &module);
} // namespace KStep::bindings

PYBIND11_MODULE(_openmmkstep, module) {
    // Errors of the plugin are those of OpenMM, whichever way they reach Python.
    pybind11::register_exception_translator([](std::exception_ptr error) {
        try {
            if (error)
                std::rethrow_exception(error);
        } catch (const OpenMM::OpenMMException &exception) {
            const pybind11::object type = pybind11::module_::import("openmm").attr("OpenMMException");
            PyErr_SetString(type.ptr(), exception.what());
        }
    });
    KStep::bindings::registerSwigTransfer();
    KStep::bindings::bindElectronDynamicsModel(module);
    KStep::bindings::bindEmbeddingCharges(module);
    KStep::bindings::bindEngines(module);
    KStep::bindings::bindInterruption(module);
    KStep::bindings::bindQMRegion(module);
    KStep::bindings::bindFarFieldForce(module);
    KStep::bindings::bindKStepIntegrator(module);
    KStep::bindings::bindNativeEngine(module);
    KStep::bindings::bindTorchScriptForce(module);
    KStep::bindings::bindQMMMForce(module);
}
