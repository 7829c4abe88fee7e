#ifndef OPENMMKSTEP_LEVELSCHEDULE_H_
#define OPENMMKSTEP_LEVELSCHEDULE_H_

#include "openmm/System.h"
#include "openmmkstep/KStepIntegrator.h"
#include <optional>
#include <vector>

namespace KStep {

/** The force groups of a KStepIntegrator, checked against a System: which are due when, and with which weight. */
class LevelSchedule {
public:
    /** Force groups that are evaluated together, as a bit mask, and their period in inner steps. */
    struct Slot {
        int groups;
        int period;
    };
    /** A slot that acts at an inner step, and the weight of its impulse in inner steps. */
    struct Due {
        int slot;
        int weight;
    };
    /** What acts at the inner steps 0 to k - 1 of an outer step. Row 0 holds for its end too. */
    using Table = std::vector<std::vector<Due>>;
    /** What the thermostat does in the middle of an inner step; in units of inner steps. */
    struct Stroke {
        /** Of the impulse of a slow common slot, what has been given earlier than a constant force would give it. */
        struct Shift {
            int slot;
            double weight;
        };
        /** the time for which friction and noise act */
        double duration;
        /** of the slots of which that is not 0 */
        std::vector<Shift> shifts;
    };

    /**
     * Take the groups of an integrator, or their defaults, and check them.
     *
     * @throws OpenMMException if groups overlap, if a group named is empty, if forces of the System belong to no group,
     *         if periods do not fit k, or if k > 1 and there is no surrogate
     */
    static LevelSchedule create(const KStepIntegrator &integrator, const OpenMM::System &system);

    /** Common slots first (by period), then the surrogates (lowest first), then the QM level. */
    const std::vector<Slot> &getSlots() const { return slots; }
    int getNumSlots() const { return static_cast<int>(slots.size()); }
    int getNumCommon() const { return numCommon; }
    int getNumSurrogates() const { return getNumSlots() - numCommon - 1; }
    int getQMSlot() const { return getNumSlots() - 1; }
    /** The best surrogate, which the QM level corrects; -1 if there is none. */
    int getTopSurrogate() const { return getNumSurrogates() > 0 ? getQMSlot() - 1 : -1; }
    bool isCommon(int slot) const { return slot < numCommon; }
    bool isSurrogate(int slot) const { return !isCommon(slot) && slot != getQMSlot(); }
    /** Whether the forces of a slot are needed at the ends of outer steps. */
    bool isNeededAtEnds(int slot) const;

    /** @throws OpenMMException if k needs a surrogate that is not there, or is no multiple of a period */
    void checkK(int k) const;
    /** The impulses of all levels. At a multiple of its period n_l level l weighs n_l, less that of the level above. */
    Table makeTable(int k) const;
    /** The impulses of plain QM steps: common forces and QM level at every inner step. */
    Table makePlainTable(int k) const;

    /** The slot of the slowest common forces, in the middle of whose period the thermostat acts; -1 if there is none.
     */
    int getSlowestCommon() const { return numCommon - 1; }
    /**
     * What the thermostat does in the middle of an inner step, 1 to k.
     *
     * An impulse of period n puts velocities off, by up to half of it, between the times at which it acts; friction and
     * noise that act there take the kinetic energy of that for heat. It vanishes in the middle of the period, so
     * friction and noise act there, once for all n inner steps. That is in the middle of a drift, too, as BAOAB wants
     * it, if n is odd. If n is even the middle lies between two drifts, and half of friction and noise act in each, on
     * velocities less the half step's impulse by which they are off there. So it is with the impulses of other common
     * periods wherever they are off.
     */
    std::optional<Stroke> getStroke(int innerStep) const;

private:
    std::vector<Slot> slots;
    int numCommon = 0;
};

} // namespace KStep

#endif
