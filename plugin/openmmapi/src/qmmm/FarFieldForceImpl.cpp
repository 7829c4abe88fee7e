#include "FarFieldForceImpl.h"
#include "openmm/OpenMMException.h"
#include "openmm/System.h"
#include "openmm/VirtualSite.h"
#include "openmm/internal/ContextImpl.h"
#include "openmmkstep/internal/PeriodicBox.h"
#include <algorithm>
#include <cmath>
#include <set>
#include <string>

using OpenMM::OpenMMException;
using OpenMM::Vec3;
using std::vector;

namespace KStep {

void FarFieldForceImpl::initialize(OpenMM::ContextImpl &context) {
    CustomCPPForceImpl::initialize(context);
    const OpenMM::System &system = context.getSystem();
    const QMRegion &region = owner.getRegion();
    const std::string &name = owner.getName();
    region.validate(system, name);
    std::set<int> seen;
    for (int i = 0; i < owner.getNumRegionCharges(); i++) {
        int particle;
        double charge;
        owner.getRegionChargeParameters(i, particle, charge);
        if (!std::isfinite(charge))
            throw OpenMMException(name + ": the charge of particle " + std::to_string(particle) +
                                  " is not a finite number");
        if (!seen.insert(particle).second)
            throw OpenMMException(name + ": particle " + std::to_string(particle) +
                                  " has two charges; add each particle once");
        places.push_back(findPlace(particle, system));
        weights.push_back(-charge);
    }
    sites = std::make_unique<RegionSites>(region, system, owner.usesPeriodicBoundaryConditions(), name);
    field = std::make_unique<EmbeddingField>(owner.getEmbeddingCharges(), region.getParticles(), system, name);
    chargePositions.resize(places.size());
}

FarFieldForceImpl::Place FarFieldForceImpl::findPlace(int particle, const OpenMM::System &system) const {
    const vector<int> &atoms = owner.getRegion().getParticles();
    int host = particle;
    // Sites may be defined by sites; the System has refused those that define themselves.
    while (true) {
        const auto found = std::find(atoms.begin(), atoms.end(), host);
        if (found != atoms.end())
            return {particle, static_cast<int>(found - atoms.begin()), host == particle};
        if (host < 0 || host >= system.getNumParticles() || !system.isVirtualSite(host))
            throw OpenMMException(owner.getName() + ": particle " + std::to_string(particle) +
                                  " is neither an atom of the region nor a virtual site that its atoms define, so it "
                                  "has no charge of the region");
        host = system.getVirtualSite(host).getParticle(0);
    }
}

double FarFieldForceImpl::computeForce(OpenMM::ContextImpl &context, const vector<Vec3> &positions,
                                       vector<Vec3> &forces) {
    Vec3 box[3];
    context.getPeriodicBoxVectors(box[0], box[1], box[2]);
    sites->place(positions, box);
    field->update(sites->getPositions(), positions, box);
    placeCharges(positions, box);
    field->computePotential(chargePositions, potential, potentialGradient);
    field->backPropagatePotential(chargePositions, weights, chargeGradients, potentialAtCharges);
    std::fill(forces.begin(), forces.end(), Vec3());
    field->addForces(chargeGradients, potentialAtCharges, forces);
    double energy = 0;
    for (size_t i = 0; i < places.size(); i++) {
        energy += weights[i] * potential[i];
        forces[places[i].particle] -= potentialGradient[i] * weights[i];
    }
    return energy;
}

void FarFieldForceImpl::placeCharges(const vector<Vec3> &positions, const Vec3 box[3]) {
    for (size_t i = 0; i < places.size(); i++) {
        const Vec3 &atom = sites->getPositions()[places[i].atom];
        chargePositions[i] = atom;
        if (!places[i].isAtom) {
            const Vec3 delta = positions[places[i].particle] - atom;
            chargePositions[i] += owner.usesPeriodicBoundaryConditions() ? minimumImage(delta, box) : delta;
        }
    }
}

vector<std::pair<int, int>> FarFieldForceImpl::getBondedParticles() const {
    // The QM level beside it holds the region together; without it nothing does that nobody named.
    return owner.getRegion().getBonds() ? owner.getRegion().getBondedParticles() : vector<std::pair<int, int>>();
}

} // namespace KStep
