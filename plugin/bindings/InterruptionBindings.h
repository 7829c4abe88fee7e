#ifndef OPENMMKSTEP_INTERRUPTIONBINDINGS_H_
#define OPENMMKSTEP_INTERRUPTIONBINDINGS_H_

namespace KStep::bindings {

/** Note that the user wants the run to end, as the handler of the signal does. */
void requestInterruption();

} // namespace KStep::bindings

#endif
