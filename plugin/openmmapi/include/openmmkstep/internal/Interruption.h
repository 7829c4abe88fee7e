#ifndef OPENMMKSTEP_INTERRUPTION_H_
#define OPENMMKSTEP_INTERRUPTION_H_

#include "openmm/OpenMMException.h"
#include "openmmkstep/Export.h"
#include <functional>

namespace KStep {

/** Thrown when the user interrupts a run (Ctrl-C): never taken for a failure of a force. */
class KSTEP_EXPORT InterruptedException : public OpenMM::OpenMMException {
public:
    InterruptedException()
        : OpenMMException("interrupted by the user; a KStepIntegrator's state is that before the last outer step") {}
};

/** Whether the user has asked the process to stop; a language binding that knows says how to find out. */
class KSTEP_EXPORT Interruption {
public:
    /** Set the question, or none. It is asked once per outer step, and when a force has failed. */
    static void setQuestion(std::function<bool()> question);
    static bool isRequested();
};

} // namespace KStep

#endif
