#ifndef OPENMMKSTEP_QMREGION_H_
#define OPENMMKSTEP_QMREGION_H_

#include "openmm/System.h"
#include "openmmkstep/Export.h"
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace KStep {

/**
 * The atoms that a QM engine sees: particles of the System with their atomic numbers, total charge and multiplicity,
 * and link atoms that saturate the bonds cut between region and environment.
 *
 * A link atom stands on the bond from its QM atom Q to its MM atom M, at x_Q + ratio * (x_M - x_Q), and is no particle
 * of the System: the force on it goes to Q and M by the chain rule.
 */
class KSTEP_EXPORT QMRegion {
public:
    struct LinkAtom {
        int qmParticle;
        int mmParticle;
        double ratio;
        int atomicNumber;
        bool operator==(const LinkAtom &other) const = default;
    };

    /** Add an atom; returns its index in the region. */
    int addAtom(int particle, int atomicNumber);
    /** Add a link atom; returns its index among the link atoms. */
    int addLinkAtom(int qmParticle, int mmParticle, double ratio, int atomicNumber = 1);
    /**
     * Say which atoms of the region are bonded (pairs of particles), so that barostats and wrapping treat its molecules
     * one by one. Without it the region counts as one molecule.
     */
    void setBonds(const std::vector<std::pair<int, int>> &pairs) { bonds = pairs; }
    /** The bonds that setBonds() was given, or nothing if it was not called. */
    const std::optional<std::vector<std::pair<int, int>>> &getBonds() const { return bonds; }
    /** Pairs of particles that hold together, for OpenMM's search for molecules: bonds, and bonds that are cut. */
    std::vector<std::pair<int, int>> getBondedParticles() const;
    const std::vector<int> &getParticles() const { return particles; }
    const std::vector<int> &getAtomicNumbers() const { return atomicNumbers; }
    const std::vector<LinkAtom> &getLinkAtoms() const { return linkAtoms; }
    int getCharge() const { return charge; }
    void setCharge(int totalCharge) { charge = totalCharge; }
    int getMultiplicity() const { return multiplicity; }
    void setMultiplicity(int spinMultiplicity) { multiplicity = spinMultiplicity; }

    /** Atomic numbers of atoms and link atoms, in the order in which an engine sees them. */
    std::vector<int> getSiteNumbers() const;
    /** Which particle, or link atom, a site is: for error messages. */
    std::string describeSite(int site) const;

    /**
     * Check everything that can be checked before a calculation.
     *
     * @param system  the System that the particles belong to
     * @param owner   the name of the force, for error messages
     * @throws OpenMMException for an empty region, particles that do not exist, occur twice or are virtual sites,
     * unknown elements, bad link atoms, and bonds of particles outside the region
     */
    void validate(const OpenMM::System &system, const std::string &owner) const;
    /** @throws OpenMMException for a charge and multiplicity that the number of electrons does not allow */
    void validateElectrons(const std::string &owner) const;
    bool operator==(const QMRegion &other) const = default;

private:
    void validateAtoms(const OpenMM::System &system, const std::string &owner) const;
    void validateLinkAtoms(const OpenMM::System &system, const std::string &owner) const;
    void validateBonds(const std::string &owner) const;
    std::vector<int> particles;
    std::vector<int> atomicNumbers;
    std::vector<LinkAtom> linkAtoms;
    std::optional<std::vector<std::pair<int, int>>> bonds;
    int charge = 0;
    int multiplicity = 1;
};

} // namespace KStep

#endif
