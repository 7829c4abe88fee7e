#include "EmbeddingChargesNode.h"
#include "ProxyRegistration.h"
#include "QMRegionNode.h"
#include "openmmkstep/QMMMForce.h"
#include <memory>

using OpenMM::SerializationNode;

namespace KStep {

namespace {

/** With a far field there is more to read. */
constexpr int version = 2, versionWithFarField = 3;

class QMMMForceProxy : public OpenMM::SerializationProxy {
public:
    QMMMForceProxy() : SerializationProxy("KStepQMMMForce") {}

    void serialize(const void *object, SerializationNode &node) const override {
        const auto &force = *static_cast<const QMMMForce *>(object);
        node.setIntProperty("version", force.hasFarField() ? versionWithFarField : version);
        node.setIntProperty("forceGroup", force.getForceGroup());
        node.setStringProperty("name", force.getName());
        node.setStringProperty("engine", force.getEngine());
        // OpenMM's XML reader loses the last character of a text whose last but one is a quotation mark, as that of
        // {"key": "value"} is; white space at the end keeps it.
        node.setStringProperty("settings", force.getEngineSettings() + "  ");
        writeQMRegion(force.getRegion(), node);
        writeEmbeddingCharges(force.getEmbeddingCharges(), node);
        if (force.hasFarField()) {
            SerializationNode &farField = node.createChildNode("FarField");
            writeEmbeddingCharges(force.getFarFieldSurroundings(), farField);
            writeRegionCharges(force.getFarFieldRegion(), farField);
        }
    }

    void *deserialize(const SerializationNode &node) const override {
        const bool hasFarField = node.getIntProperty("version") == versionWithFarField;
        if (!hasFarField)
            checkVersion(node, version, "QMMMForce");
        std::string settings = node.getStringProperty("settings");
        settings.erase(settings.find_last_not_of(' ') + 1);
        auto force = std::make_unique<QMMMForce>(readQMRegion(node), node.getStringProperty("engine"), settings,
                                                 readEmbeddingCharges(node));
        if (hasFarField) {
            const SerializationNode &farField = node.getChildNode("FarField");
            force->setFarField(readEmbeddingCharges(farField), readRegionCharges(farField));
        }
        force->setForceGroup(node.getIntProperty("forceGroup"));
        force->setName(node.getStringProperty("name"));
        return static_cast<OpenMM::Force *>(force.release());
    }
};

const ProxyRegistration<QMMMForce, QMMMForceProxy> registration;

} // namespace

} // namespace KStep
