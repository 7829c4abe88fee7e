#ifndef OPENMMKSTEP_TORCHSCRIPTFORCEIMPL_H_
#define OPENMMKSTEP_TORCHSCRIPTFORCEIMPL_H_

#include "PotentialModel.h"
#include "openmm/internal/CustomCPPForceImpl.h"
#include "openmmkstep/TorchScriptForce.h"
#include "openmmkstep/internal/EmbeddingField.h"
#include <array>
#include <memory>

namespace KStep {

class TorchScriptForceImpl : public OpenMM::CustomCPPForceImpl {
public:
    explicit TorchScriptForceImpl(const TorchScriptForce &owner);
    void initialize(OpenMM::ContextImpl &context) override;
    double computeForce(OpenMM::ContextImpl &context, const std::vector<OpenMM::Vec3> &positions,
                        std::vector<OpenMM::Vec3> &forces) override;
    const TorchScriptForce &getOwner() const override { return owner; }

private:
    double compute(const std::vector<OpenMM::Vec3> &positions, const OpenMM::Vec3 *box,
                   std::vector<OpenMM::Vec3> &forces);
    const TorchScriptForce &owner;
    std::unique_ptr<PotentialModel> model;
    /** Null in vacuum. */
    std::unique_ptr<EmbeddingField> field;
    std::vector<OpenMM::Vec3> region;
    std::vector<double> potential;

    // The last result, so that a reporter's question for the energy costs nothing.
    bool hasResult = false;
    std::vector<OpenMM::Vec3> lastPositions, lastForces;
    std::array<OpenMM::Vec3, 3> lastBox;
    double lastEnergy = 0;
};

} // namespace KStep

#endif
