#ifndef OPENMMKSTEP_PROPAGATIONKERNEL_H_
#define OPENMMKSTEP_PROPAGATIONKERNEL_H_

#include "openmm/KernelImpl.h"
#include "openmm/System.h"
#include "openmmkstep/Export.h"
#include <iosfwd>
#include <string>
#include <vector>

namespace OpenMM {
class ContextImpl;
}

namespace KStep {

/**
 * The elementary operations on a platform's positions, velocities and forces of which an outer step is made. Which
 * operation comes when is decided by the integrator; a platform only carries them out.
 *
 * Between beginStep() and finishStep() nothing is asked that a GPU would have to wait for: sums are left on the device,
 * and finishStep() brings them all back at once. The other questions (isAtMark(), velocitiesAreAtMark(),
 * compareForces(), computeKineticEnergy(), getForces()) are asked only when something unusual happened, or by users.
 *
 * Forces are kept in numbered buffers, one per level and end of the step, as the forces themselves: weights and time
 * steps enter with the kicks.
 *
 * What must survive a reordering of atoms: platforms reorder and wrap atoms inside calcForcesAndEnergy(), which comes
 * between any two operations here. Buffers, mark, saved positions and saved velocities are therefore kept in the order
 * of the particles of the System (or are moved along by a reorder listener); two positions are compared after undoing
 * the wrapping; restoreState() puts back the order and the cell offsets that belong to the saved positions. OpenMM's
 * own save and restore for the barostat (CommonApplyMonteCarloBarostatKernel) is the model.
 */
class PropagationKernel : public OpenMM::KernelImpl {
public:
    static std::string Name() { return "KStepPropagation"; }
    PropagationKernel(const std::string &name, const OpenMM::Platform &platform) : KernelImpl(name, platform) {}

    /** Whether the positions are those of mark(): known at once, or only when the step is finished. */
    enum class Comparison { Same, Different, Later };
    /** An impulse: weight (ps) times the forces in a buffer. */
    struct Impulse {
        int buffer;
        double weight;
    };
    /** Of the difference of two buffers over the region: sum of squares, largest vector; NaN if not finite. */
    struct Difference {
        double sumOfSquares = 0, maxNorm = 0;
    };
    /** What is known at the end of a step. Energies in kJ/mol, forces in kJ/mol/nm. */
    struct Summary {
        /** Whether all positions and velocities are finite. */
        bool isFinite = true;
        /** Whether the positions at beginStep() were not those of mark(). */
        bool startDiffered = false;
        /** Whether the velocities at beginStep() were not those of mark(); see velocitiesAreAtMark(). */
        bool velocitiesDiffered = false;
        double startKineticEnergy = 0, kineticEnergy = 0;
        /** Sum of the changes of kinetic energy that tallyKick() was asked for. */
        double kickWork = 0;
        /** Energy taken up from the thermostat. */
        double heat = 0;
        /** Mean kinetic energies of the region and of the rest where measureMiddle() or thermostat() was called. */
        double regionKineticEnergy = 0, restKineticEnergy = 0;
        Difference difference;
    };

    /**
     * @param system      the System
     * @param numBuffers  force buffers needed
     * @param region      particles that are told apart from the rest, and over which forces are compared
     * @param seed        of the noise, 0 for a new one
     */
    virtual void initialize(const OpenMM::System &system, int numBuffers, const std::vector<int> &region, int seed) = 0;

    /** Remember the present positions, to which the buffers belong, and velocities. */
    virtual void mark(OpenMM::ContextImpl &context) = 0;
    /** Whether the positions are, to the last bit, those of mark(). */
    virtual bool isAtMark(OpenMM::ContextImpl &context) = 0;

    /**
     * Whether the velocities are those of mark(), but for a change whose kinetic energy is below 1e-8 of theirs: what
     * removers of the centre of mass' motion do changes bits only.
     */
    virtual bool velocitiesAreAtMark(OpenMM::ContextImpl &context) = 0;

    /** Whether the random numbers drawn since beginStep() will be drawn again. */
    enum class Noise { Restored, Spent };
    /**
     * Begin a step: save positions, velocities and the state of the noise, and compare velocities and positions with
     * those of mark(); these are replaced if positions differ.
     */
    virtual Comparison beginStep(OpenMM::ContextImpl &context) = 0;
    /** Return to what beginStep() saved. */
    virtual void restoreState(OpenMM::ContextImpl &context, Noise noise) = 0;
    /** v = -v */
    virtual void reverseVelocities(OpenMM::ContextImpl &context) = 0;
    /**
     * End a step.
     *
     * @param first, second  buffers whose difference is measured over the region; -1 for none
     */
    virtual Summary finishStep(OpenMM::ContextImpl &context, int first, int second) = 0;

    /** Compare two buffers over the region. */
    virtual Difference compareForces(OpenMM::ContextImpl &context, int first, int second) = 0;
    /** buffer = the forces that the platform computed last */
    virtual void storeForces(OpenMM::ContextImpl &context, int buffer) = 0;
    /** v += sum of weight * buffer / m */
    virtual void kick(OpenMM::ContextImpl &context, const std::vector<Impulse> &impulses) = 0;
    /** v += weight (ps) * F / m with the forces that the platform computed last */
    virtual void kickWithForces(OpenMM::ContextImpl &context, double weight) = 0;
    /**
     * Add the change of kinetic energy that a kick makes to what finishStep() reports, and leave the velocities as they
     * are. With P the projection on velocities that obey the constraints and u = P sum(weight * buffer / m) it is
     * sum m u.(v +- u/2), because P is orthogonal under the masses: no other kick at the same positions, and no
     * constrainVelocities(), need come between.
     *
     * @param isGiven  whether the velocities are those after the kick (-), or those before it (+)
     */
    virtual void tallyKick(OpenMM::ContextImpl &context, const std::vector<Impulse> &impulses, bool isGiven,
                           double tolerance) = 0;
    /** Make the velocities consistent with the constraints, where they are measured or left to the user. */
    virtual void constrainVelocities(OpenMM::ContextImpl &context, double tolerance) = 0;
    /**
     * x += dt * v under the constraints (which also change v), then virtual sites are placed. The velocities need not
     * be consistent with the constraints before: what of them is along the constraint forces, those forces take out, as
     * constrainVelocities() would. Nor after, before the next constrainVelocities() or thermostat().
     */
    virtual void drift(OpenMM::ContextImpl &context, double dt, double tolerance) = 0;
    /**
     * Friction and noise on w = v - u with u = sum of shift.weight * shift.buffer / m, the velocity that impulses have
     * given too early: w = decay * w + kick, kick = sqrt(kT (1 - decay^2) / m) * noise. Velocities are made consistent
     * with the constraints before and after, u and kick too.
     *
     * The heat is the change of sum m v^2 / 2, less sum m u kick: of the work of the noise, the part that it does only
     * because velocities are off by u. It vanishes on average, and from the energy at the end of the step; left in, it
     * would make the conserved quantity a random walk. Heat, and kinetic energies after it, are added to what
     * finishStep() reports.
     *
     * @param shifts  may be empty
     */
    virtual void thermostat(OpenMM::ContextImpl &context, double decay, double temperature,
                            const std::vector<Impulse> &shifts, double tolerance) = 0;
    /** Add the present kinetic energies of region and rest to what finishStep() reports. */
    virtual void measureMiddle(OpenMM::ContextImpl &context) = 0;

    virtual double computeKineticEnergy(OpenMM::ContextImpl &context) = 0;
    virtual std::vector<OpenMM::Vec3> getForces(int buffer) = 0;
    virtual void setForces(int buffer, const std::vector<OpenMM::Vec3> &forces) = 0;
    /** The state of the noise. */
    virtual void createCheckpoint(std::ostream &stream) const = 0;
    virtual void loadCheckpoint(std::istream &stream) = 0;
};

} // namespace KStep

#endif
