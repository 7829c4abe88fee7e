#ifndef OPENMMKSTEP_QMREGIONNODE_H_
#define OPENMMKSTEP_QMREGIONNODE_H_

#include "openmm/serialization/SerializationNode.h"
#include "openmmkstep/QMRegion.h"

namespace KStep {

/** Add a region as a child "Region" of a node, and read it back from that parent. */
void writeQMRegion(const QMRegion &region, OpenMM::SerializationNode &parent);
QMRegion readQMRegion(const OpenMM::SerializationNode &parent);

} // namespace KStep

#endif
