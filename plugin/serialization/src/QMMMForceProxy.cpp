#include "EmbeddingChargesNode.h"
#include "openmm/OpenMMException.h"
#include "openmm/serialization/SerializationProxy.h"
#include "openmmkstep/QMMMForce.h"

using OpenMM::SerializationNode;

namespace KStep {

namespace {

class QMMMForceProxy : public OpenMM::SerializationProxy {
public:
    QMMMForceProxy() : SerializationProxy("KStepQMMMForce") {}

    void serialize(const void *object, SerializationNode &node) const override {
        const QMMMForce &force = *reinterpret_cast<const QMMMForce *>(object);
        const QMRegion &region = force.getRegion();
        node.setIntProperty("version", 1);
        node.setIntProperty("forceGroup", force.getForceGroup());
        node.setStringProperty("name", force.getName());
        node.setStringProperty("engine", force.getEngine());
        node.setStringProperty("settings", force.getEngineSettings());
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
        writeEmbeddingCharges(force.getEmbeddingCharges(), node);
    }

    void *deserialize(const SerializationNode &node) const override {
        if (node.getIntProperty("version") != 1)
            throw OpenMM::OpenMMException("QMMMForce: unsupported version " + node.getStringProperty("version"));
        QMRegion region;
        region.setCharge(node.getIntProperty("charge"));
        region.setMultiplicity(node.getIntProperty("multiplicity"));
        for (const SerializationNode &atom : node.getChildNode("Atoms").getChildren())
            region.addAtom(atom.getIntProperty("particle"), atom.getIntProperty("atomicNumber"));
        for (const SerializationNode &link : node.getChildNode("LinkAtoms").getChildren())
            region.addLinkAtom(link.getIntProperty("qmParticle"), link.getIntProperty("mmParticle"),
                               link.getDoubleProperty("ratio"), link.getIntProperty("atomicNumber"));
        auto *force = new QMMMForce(region, node.getStringProperty("engine"), node.getStringProperty("settings"),
                                    readEmbeddingCharges(node));
        force->setForceGroup(node.getIntProperty("forceGroup"));
        force->setName(node.getStringProperty("name"));
        return force;
    }
};

const bool registered = [] {
    OpenMM::SerializationProxy::registerProxy(typeid(QMMMForce), new QMMMForceProxy());
    return true;
}();

} // namespace

} // namespace KStep
