#include "ProxyRegistration.h"
#include "openmmkstep/KStepIntegrator.h"
#include <memory>

using OpenMM::SerializationNode;

namespace KStep {

namespace {

constexpr int version = 2;

class KStepIntegratorProxy : public OpenMM::SerializationProxy {
public:
    KStepIntegratorProxy() : SerializationProxy("KStepIntegrator") {}
    void serialize(const void *object, SerializationNode &node) const override {
        const auto &integrator = *static_cast<const KStepIntegrator *>(object);
        node.setIntProperty("version", version);
        node.setDoubleProperty("temperature", integrator.getTemperature());
        node.setDoubleProperty("friction", integrator.getFriction());
        node.setDoubleProperty("innerStepSize", integrator.getInnerStepSize());
        node.setIntProperty("k", integrator.getK());
        node.setIntProperty("randomSeed", integrator.getRandomNumberSeed());
        node.setDoubleProperty("constraintTolerance", integrator.getConstraintTolerance());
        node.setIntProperty("qmGroup", integrator.getQMGroup());
        node.setDoubleProperty("maxCorrection", integrator.getMaxCorrection());
        node.setDoubleProperty("maxEnergyError", integrator.getMaxEnergyError());
        node.setIntProperty("maxConsecutiveFallbacks", integrator.getMaxConsecutiveFallbacks());
        // Only what is not the default, so that other versions of the plugin can read the rest.
        if (integrator.getMetropolis() != KStepIntegrator::Metropolis::Off)
            node.setStringProperty("metropolis", KStepIntegrator::getMetropolisName(integrator.getMetropolis()));
        if (integrator.getThermostatInterval() != 1)
            node.setIntProperty("thermostatInterval", integrator.getThermostatInterval());
        if (!integrator.getReducedFlips())
            node.setBoolProperty("reducedFlips", false);
        writeLevels(node.createChildNode("CommonGroups"), integrator.getCommonGroups());
        writeLevels(node.createChildNode("SurrogateLevels"), integrator.getSurrogateLevels());
        SerializationNode &particles = node.createChildNode("MonitoredParticles");
        for (int particle : integrator.getMonitoredParticles())
            particles.createChildNode("Particle").setIntProperty("index", particle);
    }
    void *deserialize(const SerializationNode &node) const override {
        checkVersion(node, version, "KStepIntegrator");
        auto integrator =
            std::make_unique<KStepIntegrator>(node.getDoubleProperty("temperature"), node.getDoubleProperty("friction"),
                                              node.getDoubleProperty("innerStepSize"), node.getIntProperty("k"));
        integrator->setRandomNumberSeed(node.getIntProperty("randomSeed"));
        integrator->setConstraintTolerance(node.getDoubleProperty("constraintTolerance"));
        integrator->setQMGroup(node.getIntProperty("qmGroup"));
        integrator->setMaxCorrection(node.getDoubleProperty("maxCorrection"));
        integrator->setMaxEnergyError(node.getDoubleProperty("maxEnergyError"));
        integrator->setMaxConsecutiveFallbacks(node.getIntProperty("maxConsecutiveFallbacks"));
        integrator->setMetropolis(KStepIntegrator::findMetropolis(node.getStringProperty("metropolis", "off")));
        integrator->setThermostatInterval(node.getIntProperty("thermostatInterval", 1));
        integrator->setReducedFlips(node.getBoolProperty("reducedFlips", true));
        for (const SerializationNode &level : node.getChildNode("CommonGroups").getChildren())
            integrator->addCommonGroup(level.getIntProperty("group"), level.getIntProperty("period"));
        for (const SerializationNode &level : node.getChildNode("SurrogateLevels").getChildren())
            integrator->addSurrogateLevel(level.getIntProperty("group"), level.getIntProperty("period"));
        std::vector<int> particles;
        for (const SerializationNode &particle : node.getChildNode("MonitoredParticles").getChildren())
            particles.push_back(particle.getIntProperty("index"));
        integrator->setMonitoredParticles(particles);
        return static_cast<OpenMM::Integrator *>(integrator.release());
    }

private:
    static void writeLevels(SerializationNode &node, const std::vector<KStepIntegrator::Level> &levels) {
        for (const KStepIntegrator::Level &level : levels) {
            SerializationNode &child = node.createChildNode("Level");
            child.setIntProperty("group", level.group);
            child.setIntProperty("period", level.period);
        }
    }
};

const ProxyRegistration<KStepIntegrator, KStepIntegratorProxy> registration;

} // namespace

} // namespace KStep
