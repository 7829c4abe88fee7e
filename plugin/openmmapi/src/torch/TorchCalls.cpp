#include "TorchCalls.h"
#include "openmm/OpenMMException.h"
#include <ATen/Parallel.h>
#include <cmath>
#include <sstream>

using OpenMM::OpenMMException;
using OpenMM::Vec3;

// The interpreter's lock, where the process is a Python one. This library does not depend on Python: outside it these
// are null.
extern "C" {
__attribute__((weak)) int PyGILState_Check();
__attribute__((weak)) void *PyEval_SaveThread();
__attribute__((weak)) void PyEval_RestoreThread(void *state);
}

namespace KStep {

namespace {

/** Sets torch's number of threads for one evaluation, and puts back what the user had. */
class ThreadCount {
public:
    explicit ThreadCount(int number) : previous(at::get_num_threads()) {
        if (number != previous)
            at::set_num_threads(number);
        changed = number != previous;
    }
    ~ThreadCount() {
        if (changed)
            at::set_num_threads(previous);
    }
    ThreadCount(const ThreadCount &) = delete;
    ThreadCount &operator=(const ThreadCount &) = delete;

private:
    int previous;
    bool changed;
};

/** torch refuses to differentiate while the interpreter's lock is held, and OpenMM's Context.getState() holds it. */
class InterpreterLockRelease {
public:
    InterpreterLockRelease() {
        if (PyGILState_Check != nullptr && PyEval_SaveThread != nullptr && PyGILState_Check() == 1)
            state = PyEval_SaveThread();
    }
    ~InterpreterLockRelease() {
        if (state != nullptr)
            PyEval_RestoreThread(state);
    }
    InterpreterLockRelease(const InterpreterLockRelease &) = delete;
    InterpreterLockRelease &operator=(const InterpreterLockRelease &) = delete;

private:
    void *state = nullptr;
};

} // namespace

at::Tensor asTensor(const std::vector<Vec3> &positions) {
    static_assert(sizeof(Vec3) == 3 * sizeof(double));
    return at::from_blob(const_cast<Vec3 *>(positions.data()), {static_cast<int64_t>(positions.size()), 3},
                         at::TensorOptions().dtype(at::kDouble))
        .clone();
}

at::Tensor asTensor(const std::vector<double> &values) {
    return at::from_blob(const_cast<double *>(values.data()), {static_cast<int64_t>(values.size())},
                         at::TensorOptions().dtype(at::kDouble))
        .clone();
}

at::Tensor checkedOutput(const at::Tensor &tensor, const char *name, const std::vector<int64_t> &shape,
                         const std::string &owner) {
    if (tensor.sizes() != shape) {
        std::ostringstream text;
        text << owner << ": the model returned " << name << " of shape " << tensor.sizes() << " instead of "
             << c10::IntArrayRef(shape);
        throw OpenMMException(text.str());
    }
    at::Tensor result = tensor.detach().to(at::kDouble).contiguous();
    const double *data = result.data_ptr<double>();
    for (int64_t i = 0; i < result.numel(); i++)
        if (!std::isfinite(data[i]))
            throw OpenMMException(owner + ": the model returned " + name +
                                  " that are not finite; are the positions far outside its training data?");
    return result;
}

void callTorch(const std::string &owner, int numThreads, const std::function<void()> &call) {
    try {
        const InterpreterLockRelease unlocked;
        const ThreadCount threads(numThreads);
        call();
    } catch (const OpenMMException &) {
        throw;
    } catch (const std::exception &error) {
        throw OpenMMException(owner + ": the model failed: " + plainMessage(error));
    }
}

std::string plainMessage(const std::exception &error) {
    const auto *torchError = dynamic_cast<const c10::Error *>(&error);
    return torchError != nullptr ? torchError->what_without_backtrace() : error.what();
}

} // namespace KStep
