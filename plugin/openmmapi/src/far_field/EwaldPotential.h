#ifndef OPENMMKSTEP_EWALDPOTENTIAL_H_
#define OPENMMKSTEP_EWALDPOTENTIAL_H_

#include "openmm/Vec3.h"
#include <complex>
#include <vector>

namespace KStep {

/**
 * The electrostatic potential of charges and all their periodic images at a few points, and the way back from
 * derivatives with respect to it to forces. Ewald's sum with a conducting surface and a neutralising background, as
 * OpenMM's; its direct space reaches nearly to half the box, which suits few points among many charges.
 *
 * The first charges may be a group of their own: of these, only the images count, and not they themselves at the
 * positions that they are given at. Points may coincide with them.
 *
 * Lengths in nm, charges in e, energies in kJ/mol.
 */
class EwaldPotential {
public:
    /**
     * @param numOwn     how many of the charges are left out where they are given
     * @param charges    all charges
     * @param tolerance  what is left out of either sum, relative to Coulomb's law at half the box
     */
    EwaldPotential(int numOwn, const std::vector<double> &charges, double tolerance = 1e-5);
    /**
     * Take new positions.
     *
     * @param positions  of the charges: the first ones in one piece, the others at any image
     * @param box        periodic box vectors in OpenMM's reduced form
     */
    void update(const std::vector<OpenMM::Vec3> &positions, const OpenMM::Vec3 box[3]);
    /** nm; points share the search for near charges with an anchor that is no farther away. */
    static constexpr double MAX_ANCHOR_DISTANCE = 0.1;
    /** Points, and for each the index of its anchor, a point before it, or its own. */
    struct Points {
        std::vector<OpenMM::Vec3> positions;
        std::vector<int> anchors;
    };
    /** The potential at some points, kJ/mol/e. */
    std::vector<double> computePotential(const Points &points) const;
    /**
     * Forces of an energy E of the potentials at some points.
     *
     * @param points        the points of computePotential()
     * @param weights       dE/dpotential at each of them, e
     * @param pointForces   forces on the points, which are added to
     * @param chargeForces  forces on the charges, which are added to
     */
    void addForces(const Points &points, const std::vector<double> &weights, std::vector<OpenMM::Vec3> &pointForces,
                   std::vector<OpenMM::Vec3> &chargeForces) const;

private:
    void setBox(const OpenMM::Vec3 newBox[3]);
    /** exp(2 pi i n s) of the fractional coordinates s of a position, for n from 0 or, along the third, -highest. */
    struct Phases {
        std::vector<std::complex<double>> first, second;
        std::vector<double> real, imaginary;
    };
    void fillPhases(const OpenMM::Vec3 &position, Phases &phases) const;
    /** A row of vectors k = start + n third, n from firstN on: one of each pair k, -k. */
    struct Row {
        int a, b, firstN, size, offset;
        OpenMM::Vec3 start;
    };
    static std::complex<double> planeOf(const Row &row, const Phases &phases);
    /** d/dr of sum_k factor_k Re(exp(-i k r) F_k). */
    OpenMM::Vec3 slopeOf(const Phases &phases, const std::vector<double> &real,
                         const std::vector<double> &imaginary) const;
    /** Add weight exp(i k r) to sums over all vectors. */
    void addWaves(const Phases &phases, double weight, std::vector<double> &real, std::vector<double> &imaginary) const;
    /** Find the charges that are near an anchor, or a point that shares it, in direct space. */
    void selectNear(const OpenMM::Vec3 &anchor) const;
    /** Call visit(charge, delta, potential per charge, slope) for them; the potential's gradient is slope * delta. */
    template <class Visitor> void visitNear(const OpenMM::Vec3 &point, Visitor visit) const;
    /** erfc(alpha r) and its derivative, from tables. */
    void complement(double r, double &value, double &slope) const;

    int numOwn;
    std::vector<double> charges;
    double totalCharge = 0;
    double accuracy; // square root of the negative logarithm of the tolerance
    OpenMM::Vec3 box[3], third;
    double alpha = 0, reach = 0, background = 0, spacing = 0;
    double atReach = 0; // what is subtracted in direct space, so that nothing jumps where a charge comes within reach
    std::vector<double> complements, complementSlopes; // at multiples of the spacing
    std::vector<Row> rows;
    std::vector<double> factors; // of the vectors, row by row
    int highest[3] = {0, 0, 0};
    std::vector<OpenMM::Vec3> positions;
    std::vector<double> x, y, z;         // the same
    std::vector<double> real, imaginary; // structure factor
    mutable std::vector<double> dx, dy, dz, r2;
    struct Image {
        int charge;
        OpenMM::Vec3 position;
    };
    mutable std::vector<Image> near; // of the last anchor
};

} // namespace KStep

#endif
