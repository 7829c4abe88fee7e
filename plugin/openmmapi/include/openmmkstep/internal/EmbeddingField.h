#ifndef OPENMMKSTEP_EMBEDDINGFIELD_H_
#define OPENMMKSTEP_EMBEDDINGFIELD_H_

#include "openmm/System.h"
#include "openmm/Vec3.h"
#include "openmmkstep/EmbeddingCharges.h"
#include "openmmkstep/internal/NearGroups.h"
#include <string>
#include <vector>

namespace KStep {

/** Coulomb's constant 1/(4 pi epsilon_0) in kJ mol^-1 nm e^-2, CODATA 2018 as in OpenMM. */
extern KSTEP_EXPORT const double COULOMB_CONSTANT;

/**
 * The embedding charges at one geometry: which ones the region sees, where and how strongly, their electrostatic
 * potential, and the way back from derivatives with respect to them to forces on particles.
 *
 * Use: update() for every new geometry of the region and its environment, then any of the other methods.
 */
class KSTEP_EXPORT EmbeddingField {
public:
    /**
     * @param charges          the embedding charges
     * @param regionParticles  the particles of the region, from whose distance charges are switched
     * @param system           the System both refer to
     * @param owner            the name of the force, for error messages
     * @throws OpenMMException for particles that do not exist, are charged twice or belong to the region, for charges
     *         that are not finite, for impossible cut-offs and for a default box smaller than twice the cut-off
     */
    EmbeddingField(const EmbeddingCharges &charges, const std::vector<int> &regionParticles,
                   const OpenMM::System &system, const std::string &owner);

    /**
     * Select the charges for a geometry.
     *
     * @param sites      positions of the region's atoms in one piece, in the order of its particles; what follows them
     *                   (link atoms) is not looked at
     * @param positions  the positions of all particles of the System
     * @param box        the periodic box vectors, used only with periodic boundary conditions
     * @throws OpenMMException if the box is smaller than twice the cut-off or a position is not finite
     */
    void update(const std::vector<OpenMM::Vec3> &sites, const std::vector<OpenMM::Vec3> &positions,
                const OpenMM::Vec3 box[3]);

    /** How many charges the region sees. The arrays below all have this length. */
    int getNumSelected() const { return static_cast<int>(selectedCharge.size()); }
    /**
     * Index of the particle of each selected charge, for a bond charge that of its first particle. A particle occurs
     * more than once if several of its images are seen, or if it has bond charges.
     */
    const std::vector<int> &getParticles() const { return selectedParticle; }
    /** Effective charges: the charge times its switching factor. */
    const std::vector<double> &getCharges() const { return selectedCharge; }
    /** Switching factor of each selected charge, above 0 and at most 1. */
    const std::vector<double> &getSwitchFactors() const { return selectedFactor; }
    /** Position of the image that is seen, in the frame of the region's sites. */
    const std::vector<OpenMM::Vec3> &getPositions() const { return selectedPosition; }

    /**
     * Potential of the effective charges and its gradient, by Coulomb's law.
     *
     * @param sites      where to evaluate
     * @param potential  kJ/mol/e at each site
     * @param gradient   kJ/mol/e/nm at each site
     */
    void computePotential(const std::vector<OpenMM::Vec3> &sites, std::vector<double> &potential,
                          std::vector<OpenMM::Vec3> &gradient) const;

    /**
     * Derivatives of a function E of the potentials at some sites with respect to the effective charges and their
     * positions, for given dE/dpotential (the sites' charges, if E is a Coulomb energy). The arrays are overwritten.
     *
     * @param sites            the sites of computePotential()
     * @param weights          dE/dpotential at each site, e
     * @param chargeGradients  dE/dr of each selected charge, kJ/mol/nm
     * @param potentialAtCharges  dE/dq of each selected charge, kJ/mol/e
     */
    void backPropagatePotential(const std::vector<OpenMM::Vec3> &sites, const std::vector<double> &weights,
                                std::vector<OpenMM::Vec3> &chargeGradients,
                                std::vector<double> &potentialAtCharges) const;

    /**
     * Turn derivatives with respect to effective charges and their positions into forces on particles: those on the
     * charges, and those on charges and region that come from the switching factors. Adds to the forces.
     *
     * @param chargeGradients  dE/dr of each selected charge at fixed effective charge, kJ/mol/nm
     * @param potentialAtCharges  dE/dq of each selected charge, kJ/mol/e; only used where the switching factor is below
     * 1
     * @param forces           forces on all particles of the System
     */
    void addForces(const std::vector<OpenMM::Vec3> &chargeGradients, const std::vector<double> &potentialAtCharges,
                   std::vector<OpenMM::Vec3> &forces) const;

private:
    /** A group of charges: a range of the arrays sorted by group. */
    struct Group {
        int first, end;
        int firstBondCharge, endBondCharge;
        /** Whether its distance is that of its mean position. */
        bool isCompact() const { return end - first <= EmbeddingCharges::MAX_COMPACT_CHARGES; }
    };
    /** How the switching factor of an image depends on the distance of one of its charges from a region's atom.
     */
    struct SwitchTerm {
        int atom, particle;    // -1: the mean position of the image's charges
        double remaining;      // 1 - S(distance)
        OpenMM::Vec3 gradient; // of S with respect to the atom, later of the switching factor
    };
    /** An image of a group in the switching region: ranges of the selected charges and of the terms. */
    struct SwitchedImage {
        int first, endParticles, end, firstTerm, endTerm;
    };
    /** A charge on the line from a charge (an index of `particles`) to a particle. */
    struct BondCharge {
        int anchor, other;
        double weight, charge;
    };
    void validateCharges(const EmbeddingCharges &embedding, const OpenMM::System &system) const;
    void addGroups(const EmbeddingCharges &embedding, const OpenMM::System &system);
    void validateBox(const OpenMM::Vec3 box[3], const char *which) const;
    void placeRegion(const std::vector<OpenMM::Vec3> &sites);
    /** A sphere that holds all charges of a group. */
    struct Sphere {
        OpenMM::Vec3 center;
        double radius;
    };
    Sphere makeGroupWhole(const Group &group, const std::vector<OpenMM::Vec3> &positions, const OpenMM::Vec3 box[3]);
    void requireFinite(const Group &group, const Sphere &sphere) const;
    /** Make the list of candidates anew, if it has to be. */
    void findNearGroups(const std::vector<OpenMM::Vec3> &positions, const OpenMM::Vec3 box[3]);
    /** Whether a group may come within the cut-off before the list is made anew. */
    bool mayComeNear(const Group &group, const Sphere &sphere, const OpenMM::Vec3 box[3]) const;
    /** Call visit(shift) for the images of a group of which a charge may be within a distance of the region. */
    template <class Visitor>
    void visitImages(const Sphere &sphere, double distance, const OpenMM::Vec3 box[3], Visitor visit) const;
    void selectImage(const Group &group, const Sphere &sphere, const OpenMM::Vec3 &shift);
    void append(const Group &group, const OpenMM::Vec3 &shift, double factor);
    void append(int particle, int bondCharge, double charge, double factor, const OpenMM::Vec3 &position);
    double switchingFactor(const Group &group, const OpenMM::Vec3 &centroid, const OpenMM::Vec3 &shift);
    void addSwitchingForces(const SwitchedImage &image, double slope, std::vector<OpenMM::Vec3> &forces) const;

    std::string owner;
    double cutoff, switchingDistance;
    bool periodic;
    std::vector<int> regionParticles;
    std::vector<int> particles; // sorted by group, as are the charges
    std::vector<double> charges;
    std::vector<BondCharge> bondCharges; // sorted by group
    std::vector<Group> groups;
    NearGroups nearGroups;

    std::vector<OpenMM::Vec3> region; // atoms only
    OpenMM::Vec3 regionCenter;
    double regionRadius = 0;
    double widths[3] = {0, 0, 0};                          // of the box, between opposite faces
    std::vector<OpenMM::Vec3> whole;                       // positions of the charges, each group in one piece
    std::vector<OpenMM::Vec3> wholeBondCharges;            // positions of the bond charges in these pieces
    std::vector<int> selectedParticle, selectedBondCharge; // -1: a particle's own charge
    std::vector<double> selectedCharge, selectedBareCharge, selectedFactor;
    std::vector<OpenMM::Vec3> selectedPosition;
    std::vector<double> x, y, z; // the same positions, laid out for vector instructions
    mutable std::vector<double> gradientBuffer;
    std::vector<SwitchedImage> switchedImages;
    std::vector<SwitchTerm> switchTerms;
};

} // namespace KStep

#endif
