#include "TorchScriptForceImpl.h"
#include "CompiledModel.h"
#include "TorchScriptModel.h"
#include "openmm/OpenMMException.h"
#include "openmm/System.h"
#include "openmm/internal/ContextImpl.h"

using OpenMM::Vec3;

namespace KStep {

TorchScriptForceImpl::TorchScriptForceImpl(const TorchScriptForce &owner) : CustomCPPForceImpl(owner), owner(owner) {}

void TorchScriptForceImpl::initialize(OpenMM::ContextImpl &context) {
    CustomCPPForceImpl::initialize(context);
    const OpenMM::System &system = context.getSystem();
    for (int particle : owner.getParticles())
        if (particle < 0 || particle >= system.getNumParticles())
            throw OpenMM::OpenMMException("TorchScriptForce: particle " + std::to_string(particle) +
                                          " does not exist; the System has " +
                                          std::to_string(system.getNumParticles()) + " particles");
    if (owner.getEmbeddingCharges().getNumCharges() > 0)
        field = std::make_unique<EmbeddingField>(owner.getEmbeddingCharges(), owner.getParticles(), system,
                                                 "TorchScriptForce");
    auto archive = std::make_unique<TorchScriptModel>(owner.getArchive());
    const size_t numAtoms = owner.getParticles().size();
    if (owner.getCompiledPackage().empty()) {
        archive->warmUp(numAtoms, owner.getNumThreads());
        model = std::move(archive);
    } else
        model = std::make_unique<CompiledModel>(owner.getCompiledPackage(), *archive, numAtoms);
}

double TorchScriptForceImpl::computeForce(OpenMM::ContextImpl &context, const std::vector<Vec3> &positions,
                                          std::vector<Vec3> &forces) {
    std::array<Vec3, 3> box;
    context.getPeriodicBoxVectors(box[0], box[1], box[2]);
    if (!hasResult || lastPositions != positions || lastBox != box) {
        hasResult = false;
        lastForces.assign(positions.size(), Vec3());
        lastEnergy = compute(positions, box.data(), lastForces);
        lastPositions = positions;
        lastBox = box;
        hasResult = true;
    }
    forces = lastForces;
    return lastEnergy;
}

double TorchScriptForceImpl::compute(const std::vector<Vec3> &positions, const Vec3 *box, std::vector<Vec3> &forces) {
    const std::vector<int> &particles = owner.getParticles();
    if (!field) {
        region.clear();
        for (int particle : particles)
            region.push_back(positions[particle]);
        potential.assign(particles.size(), 0.0);
        const PotentialModel::Result result = model->evaluate(region, potential, owner.getNumThreads());
        for (size_t i = 0; i < particles.size(); i++)
            forces[particles[i]] += result.forces[i];
        return result.energy;
    }
    field->update(positions, box);
    const std::vector<Vec3> &sites = field->getRegionPositions();
    std::vector<Vec3> potentialGradient;
    field->computePotential(sites, potential, potentialGradient);
    const PotentialModel::Result result = model->evaluate(sites, potential, owner.getNumThreads());
    for (size_t i = 0; i < particles.size(); i++)
        forces[particles[i]] += result.forces[i] - potentialGradient[i] * result.charges[i];
    std::vector<Vec3> chargeGradients;
    std::vector<double> chargeSlopes;
    field->backPropagatePotential(sites, result.charges, chargeGradients, chargeSlopes);
    field->addForces(chargeGradients, chargeSlopes, forces);
    return result.energy;
}

} // namespace KStep
