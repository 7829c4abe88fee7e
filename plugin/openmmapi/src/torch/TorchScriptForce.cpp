#include "openmmkstep/TorchScriptForce.h"
#include "TorchScriptForceImpl.h"
#include "TorchScriptModel.h"
#include "openmm/OpenMMException.h"
#include <set>

using OpenMM::OpenMMException;

namespace KStep {

TorchScriptForce::TorchScriptForce(const std::string &archive, const QMRegion &region)
    : archive(archive), region(region) {
    if (region.getParticles().empty())
        throw OpenMMException("TorchScriptForce: no particles were given");
    std::set<int> seen;
    for (int particle : region.getParticles())
        if (!seen.insert(particle).second)
            throw OpenMMException("TorchScriptForce: particle " + std::to_string(particle) + " is given twice");
    const TorchScriptModel model(archive);
    model.getContract().checkAtoms(region.getSiteNumbers());
    contract = model.getContractText();
    takesPotential = model.getContract().takesPotential;
    setName("TorchScriptForce");
}

void TorchScriptForce::setEmbeddingCharges(const EmbeddingCharges &charges) {
    if (charges.getNumCharges() > 0 && !takesPotential)
        throw OpenMMException(
            "TorchScriptForce: this model does not take the potential of embedding charges (its contract "
            "names no input 'potential'), so it cannot be coupled to an environment");
    embeddingCharges = charges;
}

void TorchScriptForce::setNumThreads(int number) {
    if (number < 1)
        throw OpenMMException("TorchScriptForce: the number of threads must be at least 1, not " +
                              std::to_string(number));
    numThreads = number;
}

OpenMM::ForceImpl *TorchScriptForce::createImpl() const {
    return new TorchScriptForceImpl(*this);
}

} // namespace KStep
