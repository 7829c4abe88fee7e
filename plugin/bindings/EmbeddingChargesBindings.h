#ifndef OPENMMKSTEP_EMBEDDINGCHARGESBINDINGS_H_
#define OPENMMKSTEP_EMBEDDINGCHARGESBINDINGS_H_

#include <pybind11/pybind11.h>

namespace KStep::bindings {

/** The class EmbeddingCharges, built from arrays. QMMMForce and TorchScriptForce take it. */
void bindEmbeddingCharges(pybind11::module_ &module);

} // namespace KStep::bindings

#endif
