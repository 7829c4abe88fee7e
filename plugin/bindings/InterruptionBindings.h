#ifndef OPENMMKSTEP_INTERRUPTIONBINDINGS_H_
#define OPENMMKSTEP_INTERRUPTIONBINDINGS_H_

#include <pybind11/pybind11.h>

namespace KStep::bindings {

/** Keep an exception that ends a program (KeyboardInterrupt, SystemExit) until C++ has returned to Python. */
void keepInterruption(pybind11::error_already_set &error);

} // namespace KStep::bindings

#endif
