#include "FarFieldForceImpl.h"
#include "openmm/OpenMMException.h"
#include "openmm/System.h"
#include "openmm/internal/ContextImpl.h"
#include <algorithm>
#include <cmath>
#include <set>
#include <sstream>
#include <string>

using OpenMM::OpenMMException;
using OpenMM::Vec3;
using std::vector;

namespace KStep {

namespace {

/** e, or e^2 of products: what a file of charges may round. */
constexpr double CHARGE_TOLERANCE = 1e-9;

} // namespace

void FarFieldForceImpl::initialize(OpenMM::ContextImpl &context) {
    CustomCPPForceImpl::initialize(context);
    const OpenMM::System &system = context.getSystem();
    const QMRegion &region = owner.getRegion();
    const std::string &name = owner.getName();
    region.validate(system, name);
    places = std::make_unique<RegionChargePlaces>(region, owner.getRegionCharges(), owner.getEmbeddingCharges(), system,
                                                  name);
    if (owner.getEmbeddingCharges().getNumBondCharges() > 0)
        throw OpenMMException(name + ": it takes out what a NonbondedForce counts, which has no bond charges: give it "
                                     "the charges of the force field");
    std::set<int> charged;
    for (const auto &[particle, charge] : owner.getRegionCharges()) {
        charged.insert(particle);
        weights.push_back(-charge);
    }
    for (int i = 0; i < system.getNumForces(); i++)
        if (const auto *force = dynamic_cast<const OpenMM::NonbondedForce *>(&system.getForce(i)))
            checkForceField(*force, charged);
    sites = std::make_unique<RegionSites>(region, system, owner.usesPeriodicBoundaryConditions(), name);
    field = std::make_unique<EmbeddingField>(owner.getEmbeddingCharges(), region.getParticles(), system, name);
}

/** What it takes out of a NonbondedForce must be there. */
void FarFieldForceImpl::checkForceField(const OpenMM::NonbondedForce &force, const std::set<int> &charged) const {
    using OpenMM::NonbondedForce;
    const std::set<NonbondedForce::NonbondedMethod> inFull = {NonbondedForce::NoCutoff, NonbondedForce::Ewald,
                                                              NonbondedForce::PME, NonbondedForce::LJPME};
    if (!inFull.count(force.getNonbondedMethod()) || !force.getIncludeDirectSpace())
        throw OpenMMException(owner.getName() +
                              ": the NonbondedForce does not count every pair of charges in full: use "
                              "PME, or make the mixed system without a far field");
    const auto chargeOf = [&](int particle) {
        double charge, sigma, epsilon;
        force.getParticleParameters(particle, charge, sigma, epsilon);
        return charge;
    };
    const auto refuse = [&](const std::string &what, double there, double here) {
        std::ostringstream message;
        message
            << owner.getName() << ": " << what << there << " in the NonbondedForce, and " << here
            << " here: make the mixed system from the system with the charges that it is to have, and let it change "
               "the NonbondedForce";
        throw OpenMMException(message.str());
    };
    for (const auto &[particle, charge] : owner.getRegionCharges())
        if (std::abs(chargeOf(particle) - charge) > CHARGE_TOLERANCE)
            refuse("particle " + std::to_string(particle) + " has the charge (e) ", chargeOf(particle), charge);
    std::set<int> seenByRegion = charged;
    for (int i = 0; i < owner.getEmbeddingCharges().getNumCharges(); i++) {
        int particle, group;
        double charge;
        owner.getEmbeddingCharges().getChargeParameters(i, particle, charge, group);
        seenByRegion.insert(particle);
    }
    for (int k = 0; k < force.getNumExceptions(); k++) {
        int i, j;
        double product, sigma, epsilon;
        force.getExceptionParameters(k, i, j, product, sigma, epsilon);
        if (!seenByRegion.count(i) || !seenByRegion.count(j) || (!charged.count(i) && !charged.count(j)))
            continue;
        const double whole = chargeOf(i) * chargeOf(j);
        if (std::abs(product - whole) > CHARGE_TOLERANCE)
            refuse("particles " + std::to_string(i) + " and " + std::to_string(j) +
                       " have the product of charges (e^2) ",
                   product, whole);
        if (force.usesPeriodicBoundaryConditions() && !force.getExceptionsUsePeriodicBoundaryConditions() && whole != 0)
            throw OpenMMException(owner.getName() + ": the exceptions of the NonbondedForce are not those of nearest "
                                                    "images; call setExceptionsUsePeriodicBoundaryConditions(True)");
    }
}

double FarFieldForceImpl::computeForce(OpenMM::ContextImpl &context, const vector<Vec3> &positions,
                                       vector<Vec3> &forces) {
    Vec3 box[3];
    context.getPeriodicBoxVectors(box[0], box[1], box[2]);
    sites->place(positions, box);
    field->update(sites->getPositions(), positions, box);
    places->place(sites->getPositions(), positions, box);
    const vector<Vec3> &chargePositions = places->getPositions();
    field->computePotential(chargePositions, potential, potentialGradient);
    field->backPropagatePotential(chargePositions, weights, chargeGradients, potentialAtCharges);
    std::fill(forces.begin(), forces.end(), Vec3());
    field->addForces(chargeGradients, potentialAtCharges, forces);
    double energy = 0;
    for (size_t i = 0; i < weights.size(); i++) {
        energy += weights[i] * potential[i];
        forces[places->getParticle(i)] -= potentialGradient[i] * weights[i];
    }
    return energy + addRegionPairs(forces);
}

double FarFieldForceImpl::addRegionPairs(vector<Vec3> &forces) const {
    const vector<Vec3> &chargePositions = places->getPositions();
    double energy = 0;
    for (size_t i = 0; i < weights.size(); i++)
        for (size_t j = 0; j < i; j++) {
            const double product = COULOMB_CONSTANT * weights[i] * weights[j];
            if (product == 0)
                continue;
            const Vec3 delta = chargePositions[i] - chargePositions[j];
            const double inverse = 1 / std::sqrt(delta.dot(delta));
            energy -= product * inverse;
            const Vec3 force = delta * (product * inverse * inverse * inverse);
            forces[places->getParticle(i)] -= force;
            forces[places->getParticle(j)] += force;
        }
    return energy;
}

vector<std::pair<int, int>> FarFieldForceImpl::getBondedParticles() const {
    // The QM level beside it holds the region together; without it nothing does that nobody named.
    return owner.getRegion().getBonds() ? owner.getRegion().getBondedParticles() : vector<std::pair<int, int>>();
}

} // namespace KStep
