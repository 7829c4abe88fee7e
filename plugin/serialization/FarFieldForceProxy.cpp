#include "EmbeddingChargesNode.h"
#include "ProxyRegistration.h"
#include "QMRegionNode.h"
#include "openmmkstep/FarFieldForce.h"
#include <memory>

using OpenMM::SerializationNode;

namespace KStep {

namespace {

constexpr int version = 1;

class FarFieldForceProxy : public OpenMM::SerializationProxy {
public:
    FarFieldForceProxy() : SerializationProxy("KStepFarFieldForce") {}

    void serialize(const void *object, SerializationNode &node) const override {
        const auto &force = *static_cast<const FarFieldForce *>(object);
        node.setIntProperty("version", version);
        node.setIntProperty("forceGroup", force.getForceGroup());
        node.setStringProperty("name", force.getName());
        writeQMRegion(force.getRegion(), node);
        writeEmbeddingCharges(force.getEmbeddingCharges(), node);
        writeRegionCharges(force.getRegionCharges(), node);
    }

    void *deserialize(const SerializationNode &node) const override {
        checkVersion(node, version, "FarFieldForce");
        auto force = std::make_unique<FarFieldForce>(readQMRegion(node), readEmbeddingCharges(node));
        force->setForceGroup(node.getIntProperty("forceGroup"));
        force->setName(node.getStringProperty("name"));
        for (const auto &[particle, charge] : readRegionCharges(node))
            force->addRegionCharge(particle, charge);
        return static_cast<OpenMM::Force *>(force.release());
    }
};

const ProxyRegistration<FarFieldForce, FarFieldForceProxy> registration;

} // namespace

} // namespace KStep
