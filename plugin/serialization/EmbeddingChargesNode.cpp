#include "EmbeddingChargesNode.h"

using OpenMM::SerializationNode;

namespace KStep {

void writeEmbeddingCharges(const EmbeddingCharges &charges, SerializationNode &parent) {
    SerializationNode &node = parent.createChildNode("EmbeddingCharges");
    node.setDoubleProperty("cutoff", charges.getCutoffDistance());
    node.setDoubleProperty("switchingDistance", charges.getSwitchingDistance());
    node.setBoolProperty("periodic", charges.usesPeriodicBoundaryConditions());
    for (int i = 0; i < charges.getNumCharges(); i++) {
        int particle, group;
        double charge;
        charges.getChargeParameters(i, particle, charge, group);
        node.createChildNode("Charge")
            .setIntProperty("particle", particle)
            .setDoubleProperty("q", charge)
            .setIntProperty("group", group);
    }
}

EmbeddingCharges readEmbeddingCharges(const SerializationNode &parent) {
    const SerializationNode &node = parent.getChildNode("EmbeddingCharges");
    EmbeddingCharges charges;
    charges.setCutoffDistance(node.getDoubleProperty("cutoff"));
    charges.setSwitchingDistance(node.getDoubleProperty("switchingDistance"));
    charges.setUsesPeriodicBoundaryConditions(node.getBoolProperty("periodic"));
    for (const SerializationNode &child : node.getChildren())
        charges.addCharge(child.getIntProperty("particle"), child.getDoubleProperty("q"),
                          child.getIntProperty("group"));
    return charges;
}

} // namespace KStep
