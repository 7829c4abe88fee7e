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
    for (int i = 0; i < charges.getNumBondCharges(); i++) {
        int particle1, particle2, group;
        double weight, charge;
        charges.getBondChargeParameters(i, particle1, particle2, weight, charge, group);
        node.createChildNode("BondCharge")
            .setIntProperty("particle1", particle1)
            .setIntProperty("particle2", particle2)
            .setDoubleProperty("weight", weight)
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
    for (const SerializationNode &child : node.getChildren()) {
        const double charge = child.getDoubleProperty("q");
        const int group = child.getIntProperty("group");
        if (child.getName() == "BondCharge")
            charges.addBondCharge(child.getIntProperty("particle1"), child.getIntProperty("particle2"),
                                  child.getDoubleProperty("weight"), charge, group);
        else
            charges.addCharge(child.getIntProperty("particle"), charge, group);
    }
    return charges;
}

void writeRegionCharges(const std::vector<RegionCharge> &charges, SerializationNode &parent) {
    SerializationNode &node = parent.createChildNode("RegionCharges");
    for (const auto &[particle, charge] : charges)
        node.createChildNode("Charge").setIntProperty("particle", particle).setDoubleProperty("q", charge);
}

std::vector<RegionCharge> readRegionCharges(const SerializationNode &parent) {
    std::vector<RegionCharge> charges;
    for (const SerializationNode &child : parent.getChildNode("RegionCharges").getChildren())
        charges.push_back({child.getIntProperty("particle"), child.getDoubleProperty("q")});
    return charges;
}

} // namespace KStep
