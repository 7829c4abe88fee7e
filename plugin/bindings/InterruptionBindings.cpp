#include "InterruptionBindings.h"
#include "openmmkstep/internal/Interruption.h"
#include <atomic>
#include <pybind11/pybind11.h>

namespace py = pybind11;

namespace KStep::bindings {

namespace {

/** Set by the handler of the signal, which may run inside a force's Python code, where its exception is lost. */
std::atomic<bool> isRequested{false};
/** Whether a run has been ended for it. */
std::atomic<bool> isDelivered{false};

/** Python handles signals only between its own instructions; while C++ steps, it has to be asked. */
bool question() {
    const py::gil_scoped_acquire locked;
    if (PyErr_CheckSignals() != 0) {
        PyErr_Clear();
        isRequested = true;
    }
    if (!isRequested.exchange(false))
        return false;
    isDelivered = true;
    return true;
}

} // namespace

void requestInterruption() {
    isRequested = true;
}

void bindInterruption(py::module_ &module) {
    Interruption::setQuestion(question);
    module.def("Interruption_request", &requestInterruption);
    // Whether there was an interruption since the last call, answered or not.
    module.def("Interruption_take", [] {
        const bool delivered = isDelivered.exchange(false);
        return isRequested.exchange(false) || delivered;
    });
    // The interpreter may be gone before the last Context is.
    py::module_::import("atexit").attr("register")(py::cpp_function([] { Interruption::setQuestion(nullptr); }));
}

} // namespace KStep::bindings
