#ifndef OPENMMKSTEP_FARFIELDFORCEIMPL_H_
#define OPENMMKSTEP_FARFIELDFORCEIMPL_H_

#include "RegionChargePlaces.h"
#include "openmm/NonbondedForce.h"
#include "openmm/internal/CustomCPPForceImpl.h"
#include "openmmkstep/FarFieldForce.h"
#include "openmmkstep/internal/EmbeddingField.h"
#include "openmmkstep/internal/RegionSites.h"
#include <memory>
#include <set>
#include <utility>
#include <vector>

namespace KStep {

class FarFieldForceImpl : public OpenMM::CustomCPPForceImpl {
public:
    explicit FarFieldForceImpl(const FarFieldForce &owner) : CustomCPPForceImpl(owner), owner(owner) {}
    void initialize(OpenMM::ContextImpl &context) override;
    double computeForce(OpenMM::ContextImpl &context, const std::vector<OpenMM::Vec3> &positions,
                        std::vector<OpenMM::Vec3> &forces) override;
    std::vector<std::pair<int, int>> getBondedParticles() const override;
    const FarFieldForce &getOwner() const override { return owner; }

private:
    void checkForceField(const OpenMM::NonbondedForce &force, const std::set<int> &charged) const;
    /** Take out the region's own pairs; returns the energy. */
    double addRegionPairs(std::vector<OpenMM::Vec3> &forces) const;

    const FarFieldForce &owner;
    std::unique_ptr<RegionSites> sites;
    std::unique_ptr<EmbeddingField> field;
    std::unique_ptr<RegionChargePlaces> places;
    std::vector<double> weights; // dE/dpotential at the charges of the region
    std::vector<OpenMM::Vec3> potentialGradient, chargeGradients;
    std::vector<double> potential, potentialAtCharges;
};

} // namespace KStep

#endif
