#include "SwigTransfer.h"
#include "openmmkstep/KStepIntegrator.h"
#include "openmmkstep/internal/StatisticsFields.h"
#include <pybind11/stl.h>

namespace py = pybind11;

namespace KStep::bindings {

namespace {

KStepIntegrator &integratorOf(py::handle object) {
    return unwrap<KStepIntegrator, OpenMM::Integrator>(object, "KStepIntegrator");
}

/** Bind a getter and a setter of the integrator as functions of the module, KStepIntegrator_getX and
 * KStepIntegrator_setX. */
template <class Getter, class Setter>
void bindProperty(py::module_ &module, const std::string &name, Getter getter, Setter setter) {
    module.def(("KStepIntegrator_get" + name).c_str(),
               [getter](py::handle object) { return (integratorOf(object).*getter)(); }, py::arg("integrator"));
    module.def(("KStepIntegrator_set" + name).c_str(),
               [setter](py::handle object, const std::decay_t<std::invoke_result_t<Getter, KStepIntegrator &>> &value) {
                   (integratorOf(object).*setter)(value);
               },
               py::arg("integrator"), py::arg("value"));
}

std::vector<std::pair<int, int>> asPairs(const std::vector<KStepIntegrator::Level> &levels) {
    std::vector<std::pair<int, int>> pairs;
    for (const KStepIntegrator::Level &level : levels)
        pairs.emplace_back(level.group, level.period);
    return pairs;
}

py::dict asDict(const KStepStatistics &statistics) {
    py::dict dict;
    visitStatistics([&](const char *name, const auto &value) { dict[name] = value; }, statistics);
    return dict;
}

} // namespace

void bindKStepIntegrator(py::module_ &module) {
    module.def(
        "KStepIntegrator_create",
        [](double temperature, double friction, double innerStepSize, int k) {
            return transfer(
                static_cast<OpenMM::Integrator *>(new KStepIntegrator(temperature, friction, innerStepSize, k)));
        },
        py::arg("temperature"), py::arg("friction"), py::arg("innerStepSize"), py::arg("k"));
    module.def(
        "KStepIntegrator_isInstance",
        [](py::handle object) { return find<KStepIntegrator, OpenMM::Integrator>(object) != nullptr; },
        py::arg("wrapped"));
    bindProperty(module, "InnerStepSize", &KStepIntegrator::getInnerStepSize, &KStepIntegrator::setInnerStepSize);
    bindProperty(module, "K", &KStepIntegrator::getK, &KStepIntegrator::setK);
    bindProperty(module, "Temperature", &KStepIntegrator::getTemperature, &KStepIntegrator::setTemperature);
    bindProperty(module, "Friction", &KStepIntegrator::getFriction, &KStepIntegrator::setFriction);
    bindProperty(module, "RandomNumberSeed", &KStepIntegrator::getRandomNumberSeed,
                 &KStepIntegrator::setRandomNumberSeed);
    bindProperty(module, "QMGroup", &KStepIntegrator::getQMGroup, &KStepIntegrator::setQMGroup);
    bindProperty(module, "MonitoredParticles", &KStepIntegrator::getMonitoredParticles,
                 &KStepIntegrator::setMonitoredParticles);
    bindProperty(module, "MaxCorrection", &KStepIntegrator::getMaxCorrection, &KStepIntegrator::setMaxCorrection);
    bindProperty(module, "MaxEnergyError", &KStepIntegrator::getMaxEnergyError, &KStepIntegrator::setMaxEnergyError);
    bindProperty(module, "MaxConsecutiveFallbacks", &KStepIntegrator::getMaxConsecutiveFallbacks,
                 &KStepIntegrator::setMaxConsecutiveFallbacks);
    bindProperty(module, "ThermostatInterval", &KStepIntegrator::getThermostatInterval,
                 &KStepIntegrator::setThermostatInterval);
    bindProperty(module, "ReducedFlips", &KStepIntegrator::getReducedFlips, &KStepIntegrator::setReducedFlips);
    module.def(
        "KStepIntegrator_getMetropolis",
        [](py::handle object) { return KStepIntegrator::getMetropolisName(integratorOf(object).getMetropolis()); },
        py::arg("integrator"));
    module.def(
        "KStepIntegrator_setMetropolis",
        [](py::handle object, const std::string &name) {
            integratorOf(object).setMetropolis(KStepIntegrator::findMetropolis(name));
        },
        py::arg("integrator"), py::arg("name"));
    module.def(
        "KStepIntegrator_addCommonGroup",
        [](py::handle object, int group, int period) { return integratorOf(object).addCommonGroup(group, period); },
        py::arg("integrator"), py::arg("group"), py::arg("period"));
    module.def(
        "KStepIntegrator_addSurrogateLevel",
        [](py::handle object, int group, int period) { return integratorOf(object).addSurrogateLevel(group, period); },
        py::arg("integrator"), py::arg("group"), py::arg("period"));
    module.def(
        "KStepIntegrator_getCommonGroups",
        [](py::handle object) { return asPairs(integratorOf(object).getCommonGroups()); }, py::arg("integrator"));
    module.def(
        "KStepIntegrator_getSurrogateLevels",
        [](py::handle object) { return asPairs(integratorOf(object).getSurrogateLevels()); }, py::arg("integrator"));
    module.def(
        "KStepIntegrator_getStatistics", [](py::handle object) { return asDict(integratorOf(object).getStatistics()); },
        py::arg("integrator"));
}

} // namespace KStep::bindings
