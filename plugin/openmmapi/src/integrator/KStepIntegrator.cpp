#include "openmmkstep/KStepIntegrator.h"
#include "Integration.h"
#include "openmm/Context.h"
#include "openmm/Force.h"
#include "openmm/OpenMMException.h"
#include "openmm/internal/ContextImpl.h"
#include "openmmkstep/internal/Interruption.h"
#include "openmmkstep/internal/PropagationKernel.h"
#include <algorithm>
#include <array>
#include <cmath>
#include <sstream>

using OpenMM::ContextImpl;
using OpenMM::OpenMMException;

namespace KStep {

namespace {

constexpr std::array METROPOLIS_NAMES = {"off", "monitor", "correction", "full"};

template <class T> std::string text(const T &value) {
    std::ostringstream stream;
    stream << value;
    return stream.str();
}

void requirePositive(double value, const char *name) {
    if (!(value > 0) || !std::isfinite(value))
        throw OpenMMException(std::string("KStepIntegrator: ") + name + " must be positive and finite, not " +
                              text(value));
}

void requireNonNegative(double value, const char *name) {
    if (!(value >= 0) || !std::isfinite(value))
        throw OpenMMException(std::string("KStepIntegrator: ") + name + " must be finite and not negative, not " +
                              text(value));
}

void requireGroup(int group) {
    if (group < 0 || group > 31)
        throw OpenMMException("KStepIntegrator: a force group must be between 0 and 31, not " + text(group));
}

void requireLevel(int group, int period) {
    requireGroup(group);
    if (period < 1)
        throw OpenMMException("KStepIntegrator: the period of force group " + text(group) +
                              " must be at least one inner step, not " + text(period));
}

} // namespace

KStepIntegrator::KStepIntegrator(double innerStepSize, int k) : KStepIntegrator(0, 0, innerStepSize, k) {}

KStepIntegrator::KStepIntegrator(double temperature, double friction, double innerStepSize, int k) : k(1) {
    setTemperature(temperature);
    setFriction(friction);
    setInnerStepSize(innerStepSize);
    setK(k);
    setConstraintTolerance(1e-6);
    Integrator::setIntegrationForceGroups(findIntegrationForceGroups());
}

KStepIntegrator::~KStepIntegrator() = default;

double KStepIntegrator::getStepSize() const {
    return k * innerStepSize;
}

void KStepIntegrator::setStepSize(double size) {
    requirePositive(size, "the step size");
    setInnerStepSize(size / k);
}

void KStepIntegrator::setInnerStepSize(double size) {
    requirePositive(size, "the inner step size");
    innerStepSize = size;
}

void KStepIntegrator::setK(int number) {
    if (number < 1)
        throw OpenMMException("KStepIntegrator: k, the number of inner steps per QM call, must be at least 1, not " +
                              text(number));
    k = number;
}

void KStepIntegrator::setTemperature(double value) {
    requireNonNegative(value, "the temperature");
    temperature = value;
}

void KStepIntegrator::setFriction(double value) {
    requireNonNegative(value, "the friction");
    friction = value;
}

std::string KStepIntegrator::getMetropolisName(Metropolis mode) {
    return METROPOLIS_NAMES[static_cast<size_t>(mode)];
}

KStepIntegrator::Metropolis KStepIntegrator::findMetropolis(const std::string &name) {
    const auto *found = std::find(METROPOLIS_NAMES.begin(), METROPOLIS_NAMES.end(), name);
    if (found == METROPOLIS_NAMES.end())
        throw OpenMMException("KStepIntegrator: Metropolis is off, monitor, correction or full, not '" + name + "'");
    return static_cast<Metropolis>(found - METROPOLIS_NAMES.begin());
}

void KStepIntegrator::setThermostatInterval(int n) {
    if (n < 1)
        throw OpenMMException("KStepIntegrator: friction and noise act in every n-th outer step, n must be at least 1, "
                              "not " +
                              text(n));
    thermostatInterval = n;
}

int KStepIntegrator::addCommonGroup(int group, int period) {
    refuseInContext("common groups");
    requireLevel(group, period);
    commonGroups.push_back({group, period});
    Integrator::setIntegrationForceGroups(findIntegrationForceGroups());
    return static_cast<int>(commonGroups.size()) - 1;
}

int KStepIntegrator::addSurrogateLevel(int group, int period) {
    refuseInContext("surrogate levels");
    requireLevel(group, period);
    if (surrogateLevels.empty() && period != 1)
        throw OpenMMException("KStepIntegrator: the lowest surrogate is evaluated at every inner step: "
                              "its period must be 1, not " +
                              text(period));
    if (!surrogateLevels.empty() && period % surrogateLevels.back().period != 0)
        throw OpenMMException("KStepIntegrator: the period " + text(period) + " of force group " + text(group) +
                              " is not a multiple of the period " + text(surrogateLevels.back().period) +
                              " of the level below it");
    surrogateLevels.push_back({group, period});
    Integrator::setIntegrationForceGroups(findIntegrationForceGroups());
    return static_cast<int>(surrogateLevels.size()) - 1;
}

void KStepIntegrator::setQMGroup(int group) {
    refuseInContext("the QM group");
    requireGroup(group);
    qmGroup = group;
    Integrator::setIntegrationForceGroups(findIntegrationForceGroups());
}

void KStepIntegrator::refuseInContext(const char *what) const {
    if (integration)
        throw OpenMMException(std::string("KStepIntegrator: ") + what +
                              " cannot be changed while the integrator is bound to a Context; set them before, or "
                              "create a new Context");
}

void KStepIntegrator::setIntegrationForceGroups(int groups) {
    if (groups != findIntegrationForceGroups())
        throw OpenMMException("KStepIntegrator: the integration force groups follow from addCommonGroup() and "
                              "setQMGroup(); name groups there");
}

bool KStepIntegrator::isNamed(int group) const {
    const auto isIt = [group](const Level &level) { return level.group == group; };
    return group == qmGroup || std::any_of(commonGroups.begin(), commonGroups.end(), isIt) ||
           std::any_of(surrogateLevels.begin(), surrogateLevels.end(), isIt);
}

std::vector<KStepIntegrator::Level> KStepIntegrator::findSurrogateLevels(const OpenMM::System &system) const {
    if (surrogateLevels.empty() && !isNamed(1))
        for (int i = 0; i < system.getNumForces(); i++)
            if (system.getForce(i).getForceGroup() == 1)
                return {{1, 1}};
    return surrogateLevels;
}

int KStepIntegrator::findIntegrationForceGroups() const {
    int groups = 1 << qmGroup;
    if (commonGroups.empty() && !isNamed(0))
        groups |= 1;
    for (const Level &level : commonGroups)
        groups |= 1 << level.group;
    return groups;
}

void KStepIntegrator::setMonitoredParticles(const std::vector<int> &particles) {
    refuseInContext("monitored particles");
    monitoredParticles = particles;
}

void KStepIntegrator::setMaxCorrection(double bound) {
    requireNonNegative(bound, "the bound of the correction");
    maxCorrection = bound;
}

void KStepIntegrator::setMaxEnergyError(double bound) {
    requireNonNegative(bound, "the bound of the energy error");
    maxEnergyError = bound;
}

void KStepIntegrator::setMaxConsecutiveFallbacks(int number) {
    if (number < 0)
        throw OpenMMException("KStepIntegrator: the number of consecutive fallbacks allowed must not be negative");
    maxConsecutiveFallbacks = number;
}

KStepStatistics KStepIntegrator::getStatistics() const {
    if (!integration)
        throw OpenMMException("KStepIntegrator: statistics exist only while the integrator is bound to a Context");
    return integration->getStatistics();
}

void KStepIntegrator::initialize(ContextImpl &contextImpl) {
    if (owner != nullptr && &contextImpl.getOwner() != owner)
        throw OpenMMException("This Integrator is already bound to a context");
    context = &contextImpl;
    owner = &contextImpl.getOwner();
    const LevelSchedule schedule = LevelSchedule::create(*this, contextImpl.getSystem());
    const OpenMM::System &system = contextImpl.getSystem();
    std::vector<int> monitored = monitoredParticles;
    if (monitored.empty())
        for (int i = 0; i < system.getNumParticles(); i++)
            if (system.getParticleMass(i) != 0)
                monitored.push_back(i);
    kernel = contextImpl.getPlatform().createKernel(PropagationKernel::Name(), contextImpl);
    auto &propagationKernel = kernel.getAs<PropagationKernel>();
    propagationKernel.initialize(system, Evaluator::countBuffers(schedule), monitored, randomNumberSeed);
    integration = std::make_unique<Integration>(*this, contextImpl, propagationKernel, schedule, monitored);
}

void KStepIntegrator::cleanup() {
    integration.reset();
    kernel = OpenMM::Kernel();
}

std::vector<std::string> KStepIntegrator::getKernelNames() {
    return {PropagationKernel::Name()};
}

void KStepIntegrator::stateChanged(OpenMM::State::DataType changed) {
    if (integration)
        integration->stateChanged(changed);
}

double KStepIntegrator::computeKineticEnergy() {
    return kernel.getAs<PropagationKernel>().computeKineticEnergy(*context);
}

void KStepIntegrator::createCheckpoint(std::ostream &stream) const {
    if (integration)
        integration->createCheckpoint(stream);
}

void KStepIntegrator::loadCheckpoint(std::istream &stream) {
    if (integration)
        integration->loadCheckpoint(stream);
}

void KStepIntegrator::step(int steps) {
    if (context == nullptr)
        throw OpenMMException("This Integrator is not bound to a context!");
    const Interruption::Watch watch;
    try {
        for (int i = 0; i < steps; i++)
            integration->step();
    } catch (const InterruptedException &) {
        if (!Interruption::isRaisedAtReturn())
            throw;
    }
}

} // namespace KStep
