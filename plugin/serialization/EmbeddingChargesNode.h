#ifndef OPENMMKSTEP_EMBEDDINGCHARGESNODE_H_
#define OPENMMKSTEP_EMBEDDINGCHARGESNODE_H_

#include "openmm/serialization/SerializationNode.h"
#include "openmmkstep/EmbeddingCharges.h"

namespace KStep {

/** Add embedding charges as a child "EmbeddingCharges" of a node, and read them back from that parent. */
void writeEmbeddingCharges(const EmbeddingCharges &charges, OpenMM::SerializationNode &parent);
EmbeddingCharges readEmbeddingCharges(const OpenMM::SerializationNode &parent);

} // namespace KStep

#endif
