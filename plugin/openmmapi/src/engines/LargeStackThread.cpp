#include "LargeStackThread.h"
#include "openmm/OpenMMException.h"
#include <new>
#include <unistd.h>

namespace KStep {

LargeStackThread::~LargeStackThread() {
    if (process != getpid())
        return;
    {
        std::lock_guard<std::mutex> lock(mutex);
        mustEnd = true;
    }
    changed.notify_all();
    pthread_join(thread, nullptr);
}

void LargeStackThread::start() {
    if (process != 0) {
        // Forked: the thread was left behind, and with it whatever state these were in.
        new (&mutex) std::mutex;
        new (&changed) std::condition_variable;
        waiting = nullptr;
    }
    // Address space may be limited (ulimit -v): less is better than nothing.
    for (size_t megabytes : {4096, 1024, 256, 64}) {
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, megabytes << 20);
        const int status = pthread_create(&thread, &attributes, &LargeStackThread::enter, this);
        pthread_attr_destroy(&attributes);
        if (status == 0) {
            process = getpid();
            return;
        }
    }
    throw OpenMM::OpenMMException("a thread with a stack of 64 MiB cannot be started: raise the limits of memory or "
                                  "processes (ulimit -v, ulimit -u)");
}

void *LargeStackThread::enter(void *self) {
    static_cast<LargeStackThread *>(self)->serve();
    return nullptr;
}

void LargeStackThread::serve() {
    std::unique_lock<std::mutex> lock(mutex);
    while (true) {
        changed.wait(lock, [this] { return mustEnd || waiting != nullptr; });
        if (mustEnd)
            return;
        try {
            (*waiting)();
        } catch (...) {
            error = std::current_exception();
        }
        waiting = nullptr;
        isDone = true;
        changed.notify_all();
    }
}

void LargeStackThread::run(const std::function<void()> &function) {
    std::lock_guard<std::mutex> mine(turn);
    if (process != getpid())
        start();
    std::unique_lock<std::mutex> lock(mutex);
    error = nullptr;
    isDone = false;
    waiting = &function;
    changed.notify_all();
    changed.wait(lock, [this] { return isDone; });
    if (error)
        std::rethrow_exception(error);
}

} // namespace KStep
