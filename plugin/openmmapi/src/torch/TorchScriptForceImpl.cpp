#include "TorchScriptForceImpl.h"
#include "CompiledModel.h"
#include "TorchScriptModel.h"
#include "openmm/System.h"
#include "openmm/internal/ContextImpl.h"

using OpenMM::Vec3;
using std::vector;

namespace KStep {

void TorchScriptForceImpl::initialize(OpenMM::ContextImpl &context) {
    CustomCPPForceImpl::initialize(context);
    const OpenMM::System &system = context.getSystem();
    const QMRegion &region = owner.getRegion();
    const std::string &name = owner.getName();
    region.validate(system, name);
    const bool periodic = owner.usesPeriodicBoundaryConditions();
    sites = std::make_unique<RegionSites>(region, system, periodic, name);
    if (owner.getEmbeddingCharges().getNumCharges() > 0)
        field = std::make_unique<EmbeddingField>(owner.getEmbeddingCharges(), region.getParticles(), system, name);
    geometry = std::make_unique<LastGeometry>(involvedParticles(region, owner.getEmbeddingCharges()), periodic);
    auto archive = std::make_unique<TorchScriptModel>(owner.getArchive());
    const size_t numSites = region.getSiteNumbers().size();
    potential.assign(numSites, 0.0);
    if (owner.getCompiledPackage().empty()) {
        archive->warmUp(numSites, owner.getNumThreads());
        model = std::move(archive);
    } else
        model = std::make_unique<CompiledModel>(owner.getCompiledPackage(), *archive, numSites);
}

double TorchScriptForceImpl::computeForce(OpenMM::ContextImpl &context, const vector<Vec3> &positions,
                                          vector<Vec3> &forces) {
    Vec3 box[3];
    context.getPeriodicBoxVectors(box[0], box[1], box[2]);
    if (!geometry->matches(positions, box)) {
        geometry->forget();
        lastEnergy = compute(positions, box);
        geometry->remember(positions, box);
    }
    forces = lastForces;
    return lastEnergy;
}

double TorchScriptForceImpl::compute(const vector<Vec3> &positions, const Vec3 box[3]) {
    sites->place(positions, box);
    if (field) {
        field->update(sites->getPositions(), positions, box);
        field->computePotential(sites->getPositions(), potential, potentialGradient);
    }
    PotentialModel::Result result = model->evaluate(sites->getPositions(), potential, owner.getNumThreads());
    lastForces.assign(positions.size(), Vec3());
    if (field) {
        for (size_t i = 0; i < result.forces.size(); i++)
            result.forces[i] -= potentialGradient[i] * result.charges[i];
        field->backPropagatePotential(sites->getPositions(), result.charges, chargeGradients, potentialAtCharges);
        field->addForces(chargeGradients, potentialAtCharges, lastForces);
    }
    sites->addForces(result.forces, lastForces);
    return result.energy;
}

vector<std::pair<int, int>> TorchScriptForceImpl::getBondedParticles() const {
    // Unlike a QM region, a potential for which nobody named bonds does not hold its particles together.
    return owner.getRegion().getBonds() ? owner.getRegion().getBondedParticles() : vector<std::pair<int, int>>();
}

} // namespace KStep
