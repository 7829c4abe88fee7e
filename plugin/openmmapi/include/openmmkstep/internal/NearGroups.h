#ifndef OPENMMKSTEP_NEARGROUPS_H_
#define OPENMMKSTEP_NEARGROUPS_H_

#include "openmm/Vec3.h"
#include <array>
#include <vector>

namespace KStep {

/**
 * Which groups of charges may be within the cut-off of a region: those that were within it and a skin when all groups
 * were looked at last. They are all that can be seen as long as no charge and no atom of the region has moved by more
 * than half the skin since, and the box is the same.
 *
 * A list of candidates, nothing more: what the region sees is worked out anew from it at every geometry, in the order
 * of the groups, so that no result depends, in any bit, on when the list was made.
 */
class NearGroups {
public:
    /** nm. Charges of water need some 30 fs for half of it, and the candidates are still few. */
    static constexpr double SKIN = 0.2;
    using Box = std::array<OpenMM::Vec3, 3>;

    /**
     * Whether the list holds for a geometry.
     *
     * @param atoms    positions of the region's atoms (nm)
     * @param placeOf  placeOf(i) is the position of charge i, wherever the periodic box has put it (nm)
     * @param box      periodic box vectors (nm); any constants without a box
     */
    template <class Places> bool holdFor(const std::vector<OpenMM::Vec3> &atoms, Places placeOf, const Box &box) const {
        if (!isMade || box != referenceBox)
            return false;
        for (size_t i = 0; i < atoms.size(); i++)
            if (hasLeft(atoms[i], referenceAtoms[i]))
                return false;
        for (size_t i = 0; i < referencePlaces.size(); i++)
            if (hasLeft(placeOf(i), referencePlaces[i]))
                return false;
        return true;
    }

    /** Begin a new list with the geometry of holdFor(); add() the groups, then finish(). */
    template <class Places>
    void start(const std::vector<OpenMM::Vec3> &atoms, Places placeOf, size_t numCharges, const Box &box) {
        isMade = false;
        groups.clear();
        referenceAtoms = atoms;
        referencePlaces.resize(numCharges);
        for (size_t i = 0; i < numCharges; i++)
            referencePlaces[i] = placeOf(i);
        referenceBox = box;
    }
    void add(int group) { groups.push_back(group); }
    void finish() { isMade = true; }
    /** The candidates, in the order in which they were added. */
    const std::vector<int> &getGroups() const { return groups; }

private:
    /** Also if a coordinate is not a number. */
    static bool hasLeft(const OpenMM::Vec3 &place, const OpenMM::Vec3 &reference) {
        const OpenMM::Vec3 move = place - reference;
        return !(move.dot(move) <= 0.25 * SKIN * SKIN);
    }
    bool isMade = false;
    std::vector<int> groups;
    std::vector<OpenMM::Vec3> referenceAtoms, referencePlaces;
    Box referenceBox;
};

} // namespace KStep

#endif
