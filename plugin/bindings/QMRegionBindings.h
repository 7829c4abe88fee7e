#ifndef OPENMMKSTEP_QMREGIONBINDINGS_H_
#define OPENMMKSTEP_QMREGIONBINDINGS_H_

#include "openmmkstep/QMRegion.h"
#include <pybind11/pybind11.h>

namespace KStep::bindings {

/** The class QMRegion, built from lists. QMMMForce and TorchScriptForce take it. */
void bindQMRegion(pybind11::module_ &module);

} // namespace KStep::bindings

#endif
