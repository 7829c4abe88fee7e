#ifndef OPENMMKSTEP_LARGESTACKTHREAD_H_
#define OPENMMKSTEP_LARGESTACKTHREAD_H_

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <pthread.h>
#include <sys/types.h>

namespace KStep {

/**
 * A thread with a large stack that runs one function at a time, for libraries that put arrays of the size of the
 * problem on the stack: libxtb ends the process under the usual limit of 8 MiB at some 600 atoms. Memory that is not
 * touched is not used. It starts with the first call, and again in a process that was forked.
 */
class LargeStackThread {
public:
    LargeStackThread() = default;
    ~LargeStackThread();
    LargeStackThread(const LargeStackThread &) = delete;
    LargeStackThread &operator=(const LargeStackThread &) = delete;
    /** Run a function there and wait for it. What it throws is thrown here. Callers take turns. */
    void run(const std::function<void()> &function);

private:
    void start();
    void serve();
    static void *enter(void *self);
    std::mutex turn, mutex;
    std::condition_variable changed;
    const std::function<void()> *waiting = nullptr;
    std::exception_ptr error;
    bool isDone = false, mustEnd = false;
    pid_t process = 0; // that the thread belongs to; 0 before it has started
    pthread_t thread{};
};

} // namespace KStep

#endif
