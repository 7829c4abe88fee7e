#ifndef OPENMMKSTEP_EMBEDDINGCHARGESNODE_H_
#define OPENMMKSTEP_EMBEDDINGCHARGESNODE_H_

#include "openmm/serialization/SerializationNode.h"
#include "openmmkstep/EmbeddingCharges.h"
#include "openmmkstep/RegionCharge.h"
#include <vector>

namespace KStep {

/** Add embedding charges as a child "EmbeddingCharges" of a node, and read them back from that parent. */
void writeEmbeddingCharges(const EmbeddingCharges &charges, OpenMM::SerializationNode &parent);
EmbeddingCharges readEmbeddingCharges(const OpenMM::SerializationNode &parent);
/** Add charges of a region as a child "RegionCharges" of a node, and read them back from that parent. */
void writeRegionCharges(const std::vector<RegionCharge> &charges, OpenMM::SerializationNode &parent);
std::vector<RegionCharge> readRegionCharges(const OpenMM::SerializationNode &parent);

} // namespace KStep

#endif
