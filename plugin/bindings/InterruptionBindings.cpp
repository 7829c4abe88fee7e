#include "InterruptionBindings.h"
#include "openmmkstep/internal/Interruption.h"
#include <csignal>

namespace py = pybind11;

namespace KStep::bindings {

namespace {

/**
 * Handlers of signals run between Python's own instructions. While C++ is at work they have to be asked for; and if one
 * of them runs inside a force written in Python, OpenMM takes its exception for a failure of that force. So for as long
 * as C++ works a handler in between keeps what that of SIGINT raises, and it is raised again when C++ has returned.
 */
class PythonSignals : public Interruption::Listener {
public:
    PythonSignals()
        : getHandler(py::module_::import("_signal").attr("getsignal")),
          setHandler(py::module_::import("_signal").attr("signal")),
          handler(py::cpp_function([this](py::object number, py::object frame) {
              try {
                  previous(number, frame);
              } catch (py::error_already_set &error) {
                  keep(error);
                  throw;
              }
          })) {}

    void begin() override {
        if (depth++ > 0)
            return;
        const py::gil_scoped_acquire locked;
        // Handlers run, and may be set, in the main thread only. One that has been waiting comes first.
        if (PyErr_CheckSignals() != 0) {
            py::error_already_set error;
            isMainThread = true;
            keep(error);
        }
        try {
            const py::object current = getHandler(SIGINT);
            const bool isPython = PyCallable_Check(current.ptr()) != 0;
            if (isPython)
                previous = current;
            setHandler(SIGINT, isPython ? handler : current);
            isMainThread = true;
            isListening = isPython;
        } catch (py::error_already_set &) {
            isMainThread = isMainThread && kept;
        }
    }

    void end() override {
        if (--depth > 0 || Py_IsInitialized() == 0)
            return;
        const py::gil_scoped_acquire locked;
        const py::error_scope onItsWay;
        if (isListening)
            restoreHandler();
        isListening = false;
        if (onItsWay.type != nullptr)
            kept = py::object();
        if (isMainThread && kept)
            Py_AddPendingCall([](void *self) { return static_cast<PythonSignals *>(self)->raise(); }, this);
    }

    bool isRequested() override {
        const py::gil_scoped_acquire locked;
        const py::error_scope onItsWay;
        if (!kept && PyErr_CheckSignals() != 0) {
            py::error_already_set error;
            keep(error);
        }
        return isMainThread && kept;
    }

    bool isRaisedAtReturn() override { return isMainThread; }

    void keep(py::error_already_set &error) {
        if (isMainThread)
            kept = error.value();
    }

    /** 0, or -1 with Python's error set. */
    int raise() {
        if (!isMainThread || !kept)
            return 0;
        const py::object value = std::exchange(kept, py::object());
        PyErr_SetObject(py::type::of(value).ptr(), value.ptr());
        return -1;
    }

private:
    void restoreHandler() {
        // A signal that comes just now is handled before its handler can be set.
        for (int attempt = 0; attempt < 10; attempt++)
            try {
                if (getHandler(SIGINT).is(handler))
                    setHandler(SIGINT, previous);
                return;
            } catch (py::error_already_set &error) {
                keep(error);
            }
    }

    /** Those of C: the faces of the module signal are Python, between whose instructions handlers would run. */
    py::object getHandler, setHandler;
    py::object handler, previous;
    /** What has been raised, and is to be raised again. */
    py::object kept;
    bool isListening = false;
    static thread_local int depth;
    static thread_local bool isMainThread;
};

thread_local int PythonSignals::depth = 0;
thread_local bool PythonSignals::isMainThread = false;

/** It holds objects of Python, and is never destroyed: the interpreter may be gone before the last Context is. */
PythonSignals &signals() {
    static auto *instance = new PythonSignals();
    return *instance;
}

} // namespace

void keepInterruption(py::error_already_set &error) {
    signals().keep(error);
}

void bindInterruption(py::module_ &module) {
    Interruption::setListener(std::shared_ptr<PythonSignals>(&signals(), [](PythonSignals *) {}));
    module.def("Interruption_raise", [] {
        if (signals().raise() != 0)
            throw py::error_already_set();
    });
    py::module_::import("atexit").attr("register")(py::cpp_function([] { Interruption::setListener(nullptr); }));
}

} // namespace KStep::bindings
