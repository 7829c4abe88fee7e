#ifndef OPENMMKSTEP_SURFACECHARGES_H_
#define OPENMMKSTEP_SURFACECHARGES_H_

#include "openmm/Vec3.h"
#include <vector>

namespace KStep {

/**
 * Charges on a surface around a region that make, inside, a potential whose sources are all outside: any engine that
 * takes point charges can then be given it.
 *
 * The surface is that of spheres around the sites. Charges of a sphere that come near other sites fade out, by factors
 * w_m. They are those of least squares at probes, the sites and the corners of an octahedron around each, so that the
 * field is matched beside the potential: Q_m = w_m P_m,
 *
 *     P = argmin sum_p (phi_p - sum_m w_m P_m K / |x_p - s_m|)^2 + ridge sum_m P_m^2.
 *
 * All moves with the sites and is differentiable. Lengths in nm, charges in e, potentials in kJ/mol/e.
 */
class SurfaceCharges {
public:
    explicit SurfaceCharges(int numSites);
    /** Place probes and charges around the sites. */
    void place(const std::vector<OpenMM::Vec3> &sites);
    const std::vector<OpenMM::Vec3> &getProbes() const { return probes; }
    /** Where the charges are; as many as are not inside the surface. */
    const std::vector<OpenMM::Vec3> &getPositions() const { return positions; }
    /** Find the charges that make a potential at the probes. */
    void fit(const std::vector<double> &potential);
    const std::vector<double> &getCharges() const { return charges; }
    /** Add the potential of the charges at some points, and its gradient. */
    void addPotential(const std::vector<OpenMM::Vec3> &points, std::vector<double> &atPoints,
                      std::vector<OpenMM::Vec3> &gradient) const;
    /** What the charges miss of the potential at the probes, root mean square. */
    double getResidual() const;
    /**
     * From derivatives of an energy with respect to the charges to those with respect to what they depend on.
     *
     * @param chargeDerivatives  dE/dQ of each charge, kJ/mol/e
     * @param positionGradients  dE/ds of each charge at constant Q, kJ/mol/nm
     * @param weights            dE/dphi at each probe, e; overwritten
     * @param siteForces         forces on the sites by all that moves with them, at constant potential at the probes;
     *                           those of the probes in the potential are not among them
     */
    void backPropagate(const std::vector<double> &chargeDerivatives, const std::vector<OpenMM::Vec3> &positionGradients,
                       std::vector<double> &weights, std::vector<OpenMM::Vec3> &siteForces) const;
    /** The first probe of the site of a probe, which is the site itself. */
    static int firstProbeOf(size_t probe) { return siteOfProbe(probe) * PROBES_PER_SITE; }
    /** The site that a probe moves with. */
    static int siteOfProbe(size_t probe) { return static_cast<int>(probe / PROBES_PER_SITE); }

private:
    static constexpr int PROBES_PER_SITE = 7;
    void factorize();
    /** Solve (B B^T + ridge) x = b, B being the matrix with faded columns. */
    std::vector<double> solve(std::vector<double> b) const;
    /** A^T x, one for each charge. */
    std::vector<double> atCharges(const std::vector<double> &x) const;

    std::vector<OpenMM::Vec3> directions; // of the charges of a site
    std::vector<OpenMM::Vec3> sites, probes, positions;
    std::vector<int> hosts;     // site of each charge
    std::vector<double> fading; // w of each charge
    std::vector<double> matrix; // A: [probe][charge], potential of unit charges at the probes
    std::vector<double> factor; // Cholesky factor, a lower triangle in rows
    std::vector<double> potential, multipliers, charges;
};

} // namespace KStep

#endif
