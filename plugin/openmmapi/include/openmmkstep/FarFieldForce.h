#ifndef OPENMMKSTEP_FARFIELDFORCE_H_
#define OPENMMKSTEP_FARFIELDFORCE_H_

#include "openmm/Force.h"
#include "openmmkstep/EmbeddingCharges.h"
#include "openmmkstep/Export.h"
#include "openmmkstep/QMRegion.h"
#include "openmmkstep/RegionCharge.h"
#include <vector>

namespace KStep {

/**
 * Takes out of a force field what the QM level describes instead: the Coulomb energy of the region's force-field
 * charges q_i with each other and with the embedding charges, as far as the embedding sees these,
 *
 *     E = - sum_(i<k) q_i q_k / (4 pi epsilon_0 r_ik) - sum_ij s_j q_i q_j / (4 pi epsilon_0 r_ij),
 *
 * at the images where the QM level has them (RegionSites) and with the switching factors s_j of EmbeddingCharges.
 * Beside a NonbondedForce in which the region keeps its charges, what is left of the two is the far field: charges
 * beyond the cut-off, periodic images and the neutralising background act on the region's force-field charges. The
 * NonbondedForce must count every pair in full, also those within the region, without a cut-off or by Ewald summation
 * (exceptions of the region have the products of the charges, and periodic boundary conditions in a box).
 *
 * Charges of the region may sit on its atoms and on virtual sites that its atoms define. The force is the exact
 * derivative of the energy, through the switching of charges too.
 */
class KSTEP_EXPORT FarFieldForce : public OpenMM::Force {
public:
    /**
     * @param region   the region, as the QMMMForce beside it has it: its atoms decide which charges are seen
     * @param charges  the embedding charges, as the QMMMForce beside it has them
     */
    FarFieldForce(const QMRegion &region, const EmbeddingCharges &charges);
    const QMRegion &getRegion() const { return region; }
    const EmbeddingCharges &getEmbeddingCharges() const { return embeddingCharges; }
    /**
     * Add a charge of the region.
     *
     * @param particle  an atom of the region, or a virtual site that its atoms define
     * @param charge    the charge that the force field gives it, e
     * @return the index of the charge that was added
     */
    int addRegionCharge(int particle, double charge);
    int getNumRegionCharges() const { return static_cast<int>(regionCharges.size()); }
    void getRegionChargeParameters(int index, int &particle, double &charge) const;
    const std::vector<RegionCharge> &getRegionCharges() const { return regionCharges; }
    bool usesPeriodicBoundaryConditions() const override { return embeddingCharges.usesPeriodicBoundaryConditions(); }

protected:
    OpenMM::ForceImpl *createImpl() const override;

private:
    QMRegion region;
    EmbeddingCharges embeddingCharges;
    std::vector<RegionCharge> regionCharges;
};

} // namespace KStep

#endif
