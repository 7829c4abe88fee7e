#ifndef OPENMMKSTEP_PYTHONENGINE_H_
#define OPENMMKSTEP_PYTHONENGINE_H_

#include <pybind11/pybind11.h>

namespace KStep::bindings {

/** Make the engines of openmmkstep.engines known to QMEngineRegistry, which asks for them by name. */
void bindEngines(pybind11::module_ &module);

} // namespace KStep::bindings

#endif
