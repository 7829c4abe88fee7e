#ifndef OPENMMKSTEP_POTENTIALBYQUADRATURE_H_
#define OPENMMKSTEP_POTENTIALBYQUADRATURE_H_

#include "openmm/Vec3.h"
#include <vector>

namespace KStep {

/**
 * The electrostatic potential of a molecule at some points, for engines that give only its gradient.
 *
 * The potential vanishes at infinity, so it is the integral of its gradient along a ray. With the ray
 * r(t) = c + (p - c) / t the integral over t in (0, 1] has an analytic integrand, because the multipole expansion about
 * c is a power series in t, and Gauss-Legendre quadrature converges geometrically. The singularities of the integrand
 * are where the ray, continued to complex t, meets an atom; they lie on the ellipse with foci 0 and 1 (the ends of the
 * interval) and the semi-major axis |p - c| + |p - x| over twice |x - c|, which gives the number of points that each
 * ray needs.
 */
class PotentialByQuadrature {
public:
    /**
     * @param atoms   positions of the atoms, nm
     * @param points  where the potential is wanted, nm
     */
    PotentialByQuadrature(const std::vector<OpenMM::Vec3> &atoms, const std::vector<OpenMM::Vec3> &points);
    /** Where the gradient of the potential is needed, nm. */
    const std::vector<OpenMM::Vec3> &getPositions() const { return positions; }
    /**
     * The potential at the points.
     *
     * @param gradients  its gradient at getPositions(), any unit per nm
     */
    std::vector<double> integrate(const std::vector<OpenMM::Vec3> &gradients) const;

private:
    void addRay(const OpenMM::Vec3 &center, const OpenMM::Vec3 &point, int numNodes);
    std::vector<OpenMM::Vec3> positions;
    std::vector<OpenMM::Vec3> weights;
    std::vector<int> ends; // of the range of probes that belongs to each point
};

} // namespace KStep

#endif
