#ifndef OPENMMKSTEP_INTERRUPTION_H_
#define OPENMMKSTEP_INTERRUPTION_H_

#include "openmm/OpenMMException.h"
#include "openmmkstep/Export.h"
#include <memory>

namespace KStep {

/** Thrown when the user interrupts what is going on (Ctrl-C): never taken for a failure of a force. */
class KSTEP_EXPORT InterruptedException : public OpenMM::OpenMMException {
public:
    InterruptedException() : OpenMMException("interrupted by the user") {}
};

/** Whether the user has asked the process to stop, as a language binding knows it. */
class KSTEP_EXPORT Interruption {
public:
    /** A language that handles signals between its own instructions, and so not by itself while C++ is at work. */
    class Listener {
    public:
        virtual ~Listener() = default;
        /** Something that may take long begins; it may begin again inside. */
        virtual void begin() = 0;
        /** It ends. */
        virtual void end() = 0;
        virtual bool isRequested() = 0;
        /** Whether the language raises its own error as soon as C++ returns to it, here and now. */
        virtual bool isRaisedAtReturn() = 0;
    };
    /** Set who listens; none for nobody. */
    static void setListener(std::shared_ptr<Listener> listener);
    /** Costs about a microsecond: to be asked once per outer step, and when a force has failed. */
    static bool isRequested();
    /** Whether it is enough to return where one would have thrown an InterruptedException. */
    static bool isRaisedAtReturn();
    /** While one exists, the user is listened to. */
    class KSTEP_EXPORT Watch {
    public:
        Watch();
        ~Watch();
        Watch(const Watch &) = delete;
        Watch &operator=(const Watch &) = delete;

    private:
        std::shared_ptr<Listener> listener;
    };
};

} // namespace KStep

#endif
