#ifndef OPENMMKSTEP_QMFARFIELD_H_
#define OPENMMKSTEP_QMFARFIELD_H_

#include "EwaldPotential.h"
#include "RegionChargePlaces.h"
#include "SurfaceCharges.h"
#include "openmmkstep/QMMMForce.h"
#include "openmmkstep/internal/EmbeddingField.h"
#include <string>
#include <vector>

namespace KStep {

/**
 * The far field on a QM region: the potential of what the embedding does not see, that is, of charges beyond the
 * cut-off, of all periodic images, and of the neutralising background. Images of the region have the force field's
 * charges.
 *
 *     phi(x) = Ewald sum of all force-field charges - sum_j s_j q_j / |x - x_j| - sum_i q_i / |x - x_i|,
 *
 * j over the charges that the embedding sees and i over those of the region. The QM method gets it as charges on a
 * surface. The force field has its share in it already, with the charges q_i: it is taken out again,
 *
 *     E = - sum_i q_i phi(x_i).
 */
class QMFarField {
public:
    /**
     * @param force   the force with a far field
     * @param system  the System it is in
     * @throws OpenMMException for charges that cannot be
     */
    QMFarField(const QMMMForce &force, const OpenMM::System &system);
    /**
     * Find the field at a geometry.
     *
     * @param sites      the sites of the region: atoms in one piece, then link atoms
     * @param positions  positions of all particles of the System
     * @param box        the periodic box vectors
     * @throws OpenMMException if a position is not finite
     */
    void update(const std::vector<OpenMM::Vec3> &sites, const std::vector<OpenMM::Vec3> &positions,
                const OpenMM::Vec3 box[3]);
    /** The charges that the QM method is to see beside the embedding charges. */
    const SurfaceCharges &getSurfaceCharges() const { return surface; }
    /** What is taken out of the force field, kJ/mol. */
    double getEnergy() const { return energy; }
    /**
     * Forces of the QM energy through the surface charges, and of what is taken out of the force field.
     *
     * @param chargeDerivatives  derivatives of the QM energy with respect to the surface charges, kJ/mol/e
     * @param positionGradients  those with respect to their positions, kJ/mol/nm
     * @param siteForces         forces on the sites, which are added to
     * @param forces             forces on all particles of the System, which are added to
     */
    void addForces(const std::vector<double> &chargeDerivatives, const std::vector<OpenMM::Vec3> &positionGradients,
                   std::vector<OpenMM::Vec3> &siteForces, std::vector<OpenMM::Vec3> &forces) const;

private:
    std::string owner;
    EmbeddingField seen; // the force field's charges, as far as the embedding sees them
    RegionChargePlaces places;
    SurfaceCharges surface;
    std::vector<double> regionCharges;
    std::vector<int> particles; // of the charges in the Ewald sum: the region's first
    EwaldPotential ewald;
    EwaldPotential::Points points; // the probes, then the region's charges
    double energy = 0;
};

} // namespace KStep

#endif
