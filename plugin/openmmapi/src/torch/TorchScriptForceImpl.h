#ifndef OPENMMKSTEP_TORCHSCRIPTFORCEIMPL_H_
#define OPENMMKSTEP_TORCHSCRIPTFORCEIMPL_H_

#include "PotentialModel.h"
#include "openmm/internal/CustomCPPForceImpl.h"
#include "openmmkstep/TorchScriptForce.h"
#include "openmmkstep/internal/EmbeddingField.h"
#include "openmmkstep/internal/RegionSites.h"
#include <memory>

namespace KStep {

class TorchScriptForceImpl : public OpenMM::CustomCPPForceImpl {
public:
    explicit TorchScriptForceImpl(const TorchScriptForce &owner) : CustomCPPForceImpl(owner), owner(owner) {}
    void initialize(OpenMM::ContextImpl &context) override;
    double computeForce(OpenMM::ContextImpl &context, const std::vector<OpenMM::Vec3> &positions,
                        std::vector<OpenMM::Vec3> &forces) override;
    std::vector<std::pair<int, int>> getBondedParticles() const override;
    const TorchScriptForce &getOwner() const override { return owner; }

private:
    double compute(const std::vector<OpenMM::Vec3> &positions, const OpenMM::Vec3 box[3]);
    const TorchScriptForce &owner;
    std::unique_ptr<PotentialModel> model;
    std::unique_ptr<RegionSites> sites;
    /** Null in vacuum. */
    std::unique_ptr<EmbeddingField> field;
    std::unique_ptr<LastGeometry> geometry;
    std::vector<double> potential, potentialAtCharges;
    std::vector<OpenMM::Vec3> potentialGradient, chargeGradients;

    // The last result, so that a reporter's question for the energy costs nothing.
    std::vector<OpenMM::Vec3> lastForces;
    double lastEnergy = 0;
};

} // namespace KStep

#endif
