#include "openmmkstep/internal/QMMMForceImpl.h"
#include "openmm/OpenMMException.h"
#include "openmm/internal/ContextImpl.h"
#include "openmmkstep/internal/PeriodicBox.h"
#include <chrono>
#include <cmath>
#include <set>
#include <sstream>

using OpenMM::OpenMMException;
using OpenMM::Vec3;
using std::vector;

namespace KStep {

namespace {

/** nm; no bond and no collision at any temperature of interest brings nuclei this close. */
constexpr double MIN_SITE_DISTANCE = 0.03, MIN_CHARGE_DISTANCE = 0.01;

} // namespace

void QMMMForceImpl::initialize(OpenMM::ContextImpl &context) {
    const OpenMM::System &system = context.getSystem();
    const QMRegion &region = owner.getRegion();
    const std::string &name = owner.getName();
    region.validate(system, name);
    field = std::make_unique<EmbeddingField>(owner.getEmbeddingCharges(), region.getParticles(), system, name);

    regionIndex.assign(system.getNumParticles(), -1);
    for (size_t i = 0; i < region.getParticles().size(); i++)
        regionIndex[region.getParticles()[i]] = static_cast<int>(i);
    std::set<int> involved(region.getParticles().begin(), region.getParticles().end());
    for (const QMRegion::LinkAtom &link : region.getLinkAtoms())
        involved.insert(link.mmParticle);
    for (int i = 0; i < owner.getEmbeddingCharges().getNumCharges(); i++) {
        int particle, group;
        double charge;
        owner.getEmbeddingCharges().getChargeParameters(i, particle, charge, group);
        involved.insert(particle);
    }
    involvedParticles.assign(involved.begin(), involved.end());
    lastForces.assign(system.getNumParticles(), Vec3());

    try {
        engine = QMEngineRegistry::createEngine(owner.getEngine(), owner.getEngineSettings());
        engine->initialize({region.getSiteNumbers(), region.getCharge(), region.getMultiplicity()});
    } catch (const std::exception &error) {
        throw OpenMMException(name + ": " + error.what());
    }
    CustomCPPForceImpl::initialize(context);
}

double QMMMForceImpl::computeForce(OpenMM::ContextImpl &context, const vector<Vec3> &positions, vector<Vec3> &forces) {
    Vec3 box[3];
    context.getPeriodicBoxVectors(box[0], box[1], box[2]);
    if (!repeatsLastGeometry(positions, box)) {
        hasResult = false;
        field->update(positions, box);
        placeSites(positions, box);
        checkDistances();
        callEngine();
        storeResult();
        collectForces();
        hasResult = true;
    }
    forces = lastForces;
    return result.energy;
}

bool QMMMForceImpl::repeatsLastGeometry(const vector<Vec3> &positions, const Vec3 box[3]) {
    vector<Vec3> geometry;
    geometry.reserve(involvedParticles.size() + 3);
    for (const int particle : involvedParticles)
        geometry.push_back(positions[particle]);
    if (owner.usesPeriodicBoundaryConditions())
        geometry.insert(geometry.end(), box, box + 3);
    if (hasResult && geometry == lastGeometry)
        return true;
    lastGeometry.swap(geometry);
    return false;
}

void QMMMForceImpl::placeSites(const vector<Vec3> &positions, const Vec3 box[3]) {
    input.positions = field->getRegionPositions();
    for (const QMRegion::LinkAtom &link : owner.getRegion().getLinkAtoms()) {
        const Vec3 &host = input.positions[regionIndex[link.qmParticle]];
        Vec3 bond = positions[link.mmParticle] - host;
        if (owner.usesPeriodicBoundaryConditions())
            bond = minimumImage(bond, box);
        input.positions.push_back(host + bond * link.ratio);
    }
    input.chargePositions = field->getPositions();
    input.charges = field->getCharges();
    const int numSelected = field->getNumSelected();
    input.needsChargeSlope.resize(numSelected);
    for (int i = 0; i < numSelected; i++)
        input.needsChargeSlope[i] = field->getSwitchFactors()[i] < 1;
}

void QMMMForceImpl::checkDistances() const {
    const auto fail = [&](size_t site, const std::string &other, double distance) {
        std::ostringstream message;
        message << owner.getName() << ": QM atom " << site << " (" << owner.getRegion().describeSite(site) << ") and "
                << other << " are " << distance << " nm apart. Minimise the structure, or shorten the step";
        throw OpenMMException(message.str());
    };
    const auto closer = [](const Vec3 &delta, double limit) { return !(delta.dot(delta) >= limit * limit); };
    for (size_t i = 0; i < input.positions.size(); i++) {
        for (size_t j = 0; j < i; j++) {
            const Vec3 delta = input.positions[i] - input.positions[j];
            if (closer(delta, MIN_SITE_DISTANCE))
                fail(j, "QM atom " + std::to_string(i) + " (" + owner.getRegion().describeSite(i) + ")",
                     std::sqrt(delta.dot(delta)));
        }
        for (size_t j = 0; j < input.charges.size(); j++) {
            const Vec3 delta = input.positions[i] - input.chargePositions[j];
            if (closer(delta, MIN_CHARGE_DISTANCE))
                fail(i, "the embedding charge on particle " + std::to_string(field->getParticles()[j]),
                     std::sqrt(delta.dot(delta)));
        }
    }
}

void QMMMForceImpl::callEngine() {
    const auto start = std::chrono::steady_clock::now();
    try {
        engine->compute(input, output);
    } catch (const std::exception &error) {
        throw OpenMMException(owner.getName() + ": " + error.what());
    }
    time += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    numCalls++;
}

void QMMMForceImpl::storeResult() {
    result.energy = output.energy;
    result.siteNumbers = owner.getRegion().getSiteNumbers();
    result.sitePositions = input.positions;
    result.siteCharges = output.atomicCharges;
    result.dipole = output.dipole;
    result.environmentParticles = field->getParticles();
    result.environmentCharges = input.charges;
    result.environmentPositions = input.chargePositions;
    result.iterations = output.iterations;
    result.attempts = output.attempts;
    result.siteForces.clear();
    for (const Vec3 &gradient : output.gradient)
        result.siteForces.push_back(-gradient);
    result.environmentForces.clear();
    for (const Vec3 &gradient : output.chargeGradient)
        result.environmentForces.push_back(-gradient);
    field->computePotential(input.positions, result.potential, result.potentialGradient);
}

void QMMMForceImpl::collectForces() {
    const QMRegion &region = owner.getRegion();
    const size_t numAtoms = region.getParticles().size();
    std::fill(lastForces.begin(), lastForces.end(), Vec3());
    for (size_t i = 0; i < numAtoms; i++)
        lastForces[region.getParticles()[i]] += result.siteForces[i];
    for (size_t i = 0; i < region.getLinkAtoms().size(); i++) {
        const QMRegion::LinkAtom &link = region.getLinkAtoms()[i];
        const Vec3 &force = result.siteForces[numAtoms + i];
        lastForces[link.qmParticle] += force * (1 - link.ratio);
        lastForces[link.mmParticle] += force * link.ratio;
    }
    field->addForces(output.chargeGradient, output.chargeSlope, lastForces);
}

vector<std::pair<int, int>> QMMMForceImpl::getBondedParticles() const {
    // The region counts as one molecule, or barostats and wrapping would take apart what no bonded term holds together.
    vector<std::pair<int, int>> bonds;
    const vector<int> &particles = owner.getRegion().getParticles();
    for (size_t i = 1; i < particles.size(); i++)
        bonds.push_back({particles[i - 1], particles[i]});
    for (const QMRegion::LinkAtom &link : owner.getRegion().getLinkAtoms())
        bonds.push_back({link.qmParticle, link.mmParticle});
    return bonds;
}

const QMMMResult &QMMMForceImpl::getLastResult() const {
    if (!hasResult)
        throw OpenMMException(owner.getName() +
                              ": no QM calculation has been made in this Context yet, or the last one "
                              "failed; ask for energy or forces first");
    return result;
}

void QMMMForceImpl::reset() {
    engine->reset();
    hasResult = false;
}

} // namespace KStep
