#ifndef OPENMMKSTEP_QMMMFORCE_H_
#define OPENMMKSTEP_QMMMFORCE_H_

#include "openmm/Context.h"
#include "openmm/Force.h"
#include "openmmkstep/EmbeddingCharges.h"
#include "openmmkstep/Export.h"
#include "openmmkstep/QMRegion.h"
#include "openmmkstep/RegionCharge.h"
#include <string>
#include <vector>

namespace KStep {

/**
 * The last calculation of a QMMMForce. "Sites" are the atoms of the region followed by its link atoms; all positions
 * are in the frame of the region in one piece. Units: nm, kJ/mol, e.
 */
struct QMMMResult {
    double energy = 0;
    std::vector<int> siteNumbers;
    std::vector<OpenMM::Vec3> sitePositions;
    /** Forces on the sites at fixed effective charges of the environment. */
    std::vector<OpenMM::Vec3> siteForces;
    std::vector<double> siteCharges;
    OpenMM::Vec3 dipole;
    /** Potential of the effective charges at the sites, by Coulomb's law, and its gradient. */
    std::vector<double> potential;
    std::vector<OpenMM::Vec3> potentialGradient;
    /** -1 for charges that make the far field, which come last. */
    std::vector<int> environmentParticles;
    std::vector<double> environmentCharges;
    std::vector<OpenMM::Vec3> environmentPositions;
    /** Forces on the environment at fixed effective charges. */
    std::vector<OpenMM::Vec3> environmentForces;
    int iterations = -1;
    int attempts = 1;
};

/** What the engine of a QMMMForce was last asked to calculate; units and frame are those of QMMMResult. */
struct QMMMQuestion {
    std::vector<int> siteNumbers;
    std::vector<OpenMM::Vec3> sitePositions;
    std::vector<double> environmentCharges;
    std::vector<OpenMM::Vec3> environmentPositions;
    /** Why the calculation failed; empty if it did not. */
    std::string failure;
};

/**
 * The energy of a QM region, alone (mechanical embedding: no embedding charges) or in the field of the point charges of
 * its environment (electrostatic embedding). The force is on the QM atoms and on the charges; it is the exact
 * derivative of the energy, through link atoms and the switching of charges too.
 *
 * The QM level is an engine, named and described by settings in JSON (QMEngineRegistry). The calculation is repeated
 * only when the region, the charges or the box have changed.
 *
 * A calculation that fails is an error; but while OpenMM's minimiser tries geometries, one at which it does not
 * converge has an infinite energy, from which the line search steps back.
 */
class KSTEP_EXPORT QMMMForce : public OpenMM::Force {
public:
    /**
     * @param region    the QM region
     * @param engine    name of the engine, such as "gfn2-xtb"
     * @param settings  settings of the engine, a JSON object; empty for defaults
     * @param charges   embedding charges; none for mechanical embedding
     */
    QMMMForce(const QMRegion &region, const std::string &engine, const std::string &settings = "",
              const EmbeddingCharges &charges = EmbeddingCharges());
    const QMRegion &getRegion() const { return region; }
    const std::string &getEngine() const { return engine; }
    const std::string &getEngineSettings() const { return settings; }
    const EmbeddingCharges &getEmbeddingCharges() const { return charges; }
    /**
     * Let the far field act on the QM method itself: the potential of charges beyond the embedding cut-off, of periodic
     * images and of the neutralising background, by Ewald summation. The method gets it as charges on a surface around
     * the region. Beside a FarFieldForce, by which the far field acts on the region's force-field charges; that is
     * taken out again here. Images of the region keep the force field's charges.
     *
     * @param surroundings   the force field's charges around the region, as the FarFieldForce has them; periodic
     * @param regionCharges  the force field's charges of the region, as the FarFieldForce has them
     * @throws OpenMMException if there are no charges around the region
     */
    void setFarField(const EmbeddingCharges &surroundings, const std::vector<RegionCharge> &regionCharges);
    bool hasFarField() const { return farFieldSurroundings.getNumCharges() > 0; }
    const EmbeddingCharges &getFarFieldSurroundings() const { return farFieldSurroundings; }
    const std::vector<RegionCharge> &getFarFieldRegion() const { return farFieldRegion; }
    bool usesPeriodicBoundaryConditions() const override { return charges.usesPeriodicBoundaryConditions(); }

    /** The last calculation in a Context. Throws OpenMMException if there was none. */
    const QMMMResult &getLastResult(OpenMM::Context &context) const;
    /**
     * What was last asked in a Context, whether it could be calculated or not. Throws OpenMMException if nothing was.
     */
    QMMMQuestion getLastQuestion(OpenMM::Context &context) const;
    /** How many calculations were made in a Context, whoever asked for them; failed ones count. */
    long long getNumCalls(OpenMM::Context &context) const;
    /** Wall time that they took, in seconds. */
    double getTime(OpenMM::Context &context) const;
    /**
     * Forget the last result and the density that the next calculation would start from. Results do not depend on the
     * past then, to the last bit; call it where a trajectory must be continued identically from a checkpoint.
     */
    void reset(OpenMM::Context &context) const;

protected:
    OpenMM::ForceImpl *createImpl() const override;

private:
    QMRegion region;
    std::string engine;
    std::string settings;
    EmbeddingCharges charges, farFieldSurroundings;
    std::vector<RegionCharge> farFieldRegion;
};

} // namespace KStep

#endif
