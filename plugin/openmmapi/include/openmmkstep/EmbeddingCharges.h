#ifndef OPENMMKSTEP_EMBEDDINGCHARGES_H_
#define OPENMMKSTEP_EMBEDDINGCHARGES_H_

#include "openmmkstep/Export.h"
#include <vector>

namespace KStep {

/**
 * The point charges of the environment that a QM region sees. QMMMForce and TorchScriptForce take the same object, so
 * that the surrogate feels exactly the charges that the QM level feels.
 *
 * Without a cut-off every charge is seen in full. With a cut-off, the charges of one group (a small molecule, or a part
 * of a large one, of whole charge where possible) are switched together:
 *
 *     s = 1 - prod_ij (1 - S(|x_i - x_j|)),    effective charge = s * charge,
 *
 * where i runs over the atoms of the region, j over the charges of the group, and S goes from 1 at the switching
 * distance to 0 at the cut-off as the quintic 1 - 10 t^3 + 15 t^4 - 6 t^5. So a group is seen as soon as any of its
 * charges is near any atom of the region; the factor has two continuous derivatives and favours no atom. Groups of up
 * to three charges (ions, most models of water) are all within a bond length of their mean position, which stands for
 * x_j; they are many, and this costs a third.
 *
 * With periodic boundary conditions a cut-off is needed, and every image of a group that has a charge within the
 * cut-off of the region is seen: the nearest one, and others only if region and group are longer than the box less
 * twice the cut-off. The box must be at least twice the cut-off wide.
 *
 * Lengths are in nm, charges in units of the proton charge.
 */
class KSTEP_EXPORT EmbeddingCharges {
public:
    /** Groups of up to so many charges are seen from their mean position. */
    static constexpr int MAX_COMPACT_CHARGES = 3;
    /**
     * Add a charge.
     *
     * @param particle  index of the particle in the System; virtual sites may carry charges
     * @param charge    its charge
     * @param group     the group it belongs to, any integer from 0
     * @return the index of the charge that was added
     */
    int addCharge(int particle, double charge, int group);
    int getNumCharges() const { return static_cast<int>(charges.size()); }
    void getChargeParameters(int index, int &particle, double &charge, int &group) const;
    void setChargeParameters(int index, int particle, double charge, int group);
    /**
     * Add a charge on the line through two bonded particles, at x_1 + weight (x_2 - x_1). Such charges take the place
     * of the one at the MM end of a bond that the region cuts.
     *
     * @param particle1  a particle with an embedding charge (which may be 0) of the same group
     * @param particle2  a particle outside the region, at its image nearest to particle1
     * @param weight     place on the line: 0 at particle1, 1 at particle2
     * @param charge     the charge, which is switched with those of its group; distances are not measured from it
     * @param group      the group of particle1
     * @return the index of the bond charge that was added
     */
    int addBondCharge(int particle1, int particle2, double weight, double charge, int group);
    int getNumBondCharges() const { return static_cast<int>(bondCharges.size()); }
    void getBondChargeParameters(int index, int &particle1, int &particle2, double &weight, double &charge,
                                 int &group) const;
    /** The cut-off distance; 0 means that there is none. */
    double getCutoffDistance() const { return cutoff; }
    void setCutoffDistance(double distance);
    /** The distance at which the charges begin to be switched off. */
    double getSwitchingDistance() const { return switchingDistance; }
    void setSwitchingDistance(double distance);
    bool usesPeriodicBoundaryConditions() const { return periodic; }
    void setUsesPeriodicBoundaryConditions(bool isPeriodic) { periodic = isPeriodic; }
    bool operator==(const EmbeddingCharges &other) const = default;

private:
    struct Charge {
        int particle;
        double charge;
        int group;
        bool operator==(const Charge &other) const = default;
    };
    struct BondCharge {
        int particle1, particle2;
        double weight, charge;
        int group;
        bool operator==(const BondCharge &other) const = default;
    };
    const Charge &at(int index) const;
    std::vector<Charge> charges;
    std::vector<BondCharge> bondCharges;
    double cutoff = 0;
    double switchingDistance = 0;
    bool periodic = false;
};

} // namespace KStep

#endif
