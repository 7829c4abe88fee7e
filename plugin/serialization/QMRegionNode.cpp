#include "QMRegionNode.h"

using OpenMM::SerializationNode;

namespace KStep {

void writeQMRegion(const QMRegion &region, SerializationNode &parent) {
    SerializationNode &node = parent.createChildNode("Region");
    node.setIntProperty("charge", region.getCharge());
    node.setIntProperty("multiplicity", region.getMultiplicity());
    SerializationNode &atoms = node.createChildNode("Atoms");
    for (size_t i = 0; i < region.getParticles().size(); i++)
        atoms.createChildNode("Atom")
            .setIntProperty("particle", region.getParticles()[i])
            .setIntProperty("atomicNumber", region.getAtomicNumbers()[i]);
    SerializationNode &links = node.createChildNode("LinkAtoms");
    for (const QMRegion::LinkAtom &link : region.getLinkAtoms())
        links.createChildNode("LinkAtom")
            .setIntProperty("qmParticle", link.qmParticle)
            .setIntProperty("mmParticle", link.mmParticle)
            .setDoubleProperty("ratio", link.ratio)
            .setIntProperty("atomicNumber", link.atomicNumber);
    node.setBoolProperty("hasBonds", region.getBonds().has_value());
    SerializationNode &bonds = node.createChildNode("Bonds");
    if (region.getBonds())
        for (const auto &[first, second] : *region.getBonds())
            bonds.createChildNode("Bond").setIntProperty("first", first).setIntProperty("second", second);
}

QMRegion readQMRegion(const SerializationNode &parent) {
    const SerializationNode &node = parent.getChildNode("Region");
    QMRegion region;
    region.setCharge(node.getIntProperty("charge"));
    region.setMultiplicity(node.getIntProperty("multiplicity"));
    for (const SerializationNode &atom : node.getChildNode("Atoms").getChildren())
        region.addAtom(atom.getIntProperty("particle"), atom.getIntProperty("atomicNumber"));
    for (const SerializationNode &link : node.getChildNode("LinkAtoms").getChildren())
        region.addLinkAtom(link.getIntProperty("qmParticle"), link.getIntProperty("mmParticle"),
                           link.getDoubleProperty("ratio"), link.getIntProperty("atomicNumber"));
    if (node.getBoolProperty("hasBonds")) {
        std::vector<std::pair<int, int>> bonds;
        for (const SerializationNode &bond : node.getChildNode("Bonds").getChildren())
            bonds.push_back({bond.getIntProperty("first"), bond.getIntProperty("second")});
        region.setBonds(bonds);
    }
    return region;
}

} // namespace KStep
