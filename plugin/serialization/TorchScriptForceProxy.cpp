#include "EmbeddingChargesNode.h"
#include "ProxyRegistration.h"
#include "QMRegionNode.h"
#include "openmmkstep/TorchScriptForce.h"
#include <memory>

using OpenMM::OpenMMException;
using OpenMM::SerializationNode;

namespace KStep {

namespace {

constexpr char hexDigits[] = "0123456789abcdef";

std::string toHex(const std::string &bytes) {
    std::string text;
    text.reserve(2 * bytes.size());
    for (unsigned char byte : bytes) {
        text += hexDigits[byte >> 4];
        text += hexDigits[byte & 15];
    }
    return text;
}

std::string fromHex(const std::string &text) {
    auto value = [](char digit) {
        if (digit >= '0' && digit <= '9')
            return digit - '0';
        if (digit >= 'a' && digit <= 'f')
            return digit - 'a' + 10;
        throw OpenMMException("TorchScriptForce: the archive in the XML document is damaged");
    };
    std::string bytes;
    bytes.reserve(text.size() / 2);
    for (size_t i = 0; i + 1 < text.size(); i += 2)
        bytes += static_cast<char>(value(text[i]) * 16 + value(text[i + 1]));
    return bytes;
}

constexpr int version = 2;

class TorchScriptForceProxy : public OpenMM::SerializationProxy {
public:
    TorchScriptForceProxy() : SerializationProxy("KStepTorchScriptForce") {}

    void serialize(const void *object, SerializationNode &node) const override {
        const auto &force = *static_cast<const TorchScriptForce *>(object);
        node.setIntProperty("version", version);
        node.setIntProperty("forceGroup", force.getForceGroup());
        node.setStringProperty("name", force.getName());
        node.setIntProperty("numThreads", force.getNumThreads());
        node.setStringProperty("archive", toHex(force.getArchive()));
        writeQMRegion(force.getRegion(), node);
        writeEmbeddingCharges(force.getEmbeddingCharges(), node);
    }

    void *deserialize(const SerializationNode &node) const override {
        checkVersion(node, version, "TorchScriptForce");
        auto force = std::make_unique<TorchScriptForce>(fromHex(node.getStringProperty("archive")), readQMRegion(node));
        force->setForceGroup(node.getIntProperty("forceGroup"));
        force->setName(node.getStringProperty("name"));
        force->setNumThreads(node.getIntProperty("numThreads"));
        force->setEmbeddingCharges(readEmbeddingCharges(node));
        return static_cast<OpenMM::Force *>(force.release());
    }
};

const ProxyRegistration<TorchScriptForce, TorchScriptForceProxy> registration;

} // namespace

} // namespace KStep
