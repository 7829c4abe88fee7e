#ifndef OPENMMKSTEP_KSTEPINTEGRATOR_H_
#define OPENMMKSTEP_KSTEPINTEGRATOR_H_

#include "openmm/Integrator.h"
#include "openmm/Kernel.h"
#include "openmmkstep/Export.h"
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace KStep {

/** What a KStepIntegrator counted and measured since its Context was created (or a checkpoint was made). */
struct KStepStatistics {
    long long outerSteps = 0;
    long long innerSteps = 0;
    /** Evaluations of the QM force group that the integrator asked for, fallbacks and rejected steps included. */
    long long qmCalls = 0;
    /** QM calculations that others asked for: barostats, minimisers, reporters. Nothing if the QM level does not count.
     */
    std::optional<long long> otherQMCalls;
    /** Evaluations of each surrogate level, lowest first. */
    std::vector<long long> surrogateCalls;
    long long commonCalls = 0;
    long long fallbacks = 0;
    int consecutiveFallbacks = 0;
    std::string lastFallbackReason;
    /** Outer steps at whose end the correction F_Q - F_S was measured. */
    long long measuredCorrections = 0;
    /**
     * Root mean square, per coordinate, of F_Q - F_S over the monitored particles (kJ/mol/nm): in the last step, and
     * over all steps at which it was measured. Nothing if it was not: no surrogate, or one that failed.
     */
    std::optional<double> correctionRMS, meanCorrectionRMS;
    /** Largest |F_Q - F_S| on any one of them in the last outer step (kJ/mol/nm), if it was measured. */
    std::optional<double> maxCorrection;
    /** Change of T + U_C + U_Q less the heat taken from the thermostat: last outer step, and summed (kJ/mol). */
    double energyError = 0, cumulativeEnergyError = 0;
    /** T + U_C + U_Q at the end of the last outer step, and its potential part (kJ/mol). */
    double totalEnergy = 0, potentialEnergy = 0;
    /** Energy taken from the thermostat so far (kJ/mol). */
    double heat = 0;
    /**
     * Kinetic energies of the monitored particles and of all others, in the middle of the last outer step's drifts
     * (after the noise), where velocities have the distribution of the temperature; at the ends of steps they are too
     * cold (kJ/mol).
     */
    double regionKineticEnergy = 0, restKineticEnergy = 0;
    /** Wall time in seconds. "integrator" is everything that is not a force evaluation. */
    double qmTime = 0, commonTime = 0, integratorTime = 0;
    std::vector<double> surrogateTime;
};

/**
 * Molecular dynamics on a QM or QM/MM potential for one QM call every k steps.
 *
 * The potential is split into force groups: common terms C that every level shares, surrogates S_0, S_1, ... that
 * describe the QM region ever better and at ever higher cost, and the QM level Q. The Hamiltonian is T + U_C + U_Q.
 * One step(1) is one outer step of k inner steps of length d. Level l has a period of n_l inner steps, n_0 = 1, each
 * period divides the next and the last divides k. At every multiple of its period level l gives the impulse
 * n_l d (F_l - F_(l-1)), half before and half after, which telescopes to Q, whose period is k. A common group with
 * period n gives the impulse n d F. (OpenMM's own multiple time step integrators name substeps per step instead, the
 * reciprocal.) The scheme is the reversible reference system propagator (r-RESPA) of Tuckerman, Berne and Martyna,
 * J. Chem. Phys. 97, 1990 (1992), and so symplectic and time reversible at constant energy. The correction F_Q - F_S
 * needs one QM call per outer step, because the force at the end of one is the force at the start of the next.
 *
 * With a friction the inner step is BAOAB with constraints (g-BAOAB of Leimkuhler and Matthews, Proc. R. Soc. A 472,
 * 20160138 (2016)); without one it is velocity Verlet with RATTLE. Where common forces have a period n > 1, friction
 * and noise act in the middle of that period only, for n inner steps at once: between the impulses of slow forces
 * velocities are off by parts of these impulses, and noise that acted there would dissipate them. If n is even the
 * middle is no middle of a drift; friction and noise then act in the two drifts beside it, each with half their
 * strength, on velocities less half an inner step's slow impulse. Positions of fast modes keep the exact distribution
 * that BAOAB gives a harmonic mode.
 *
 * An outer step whose end is not finite, whose correction or whose energy error exceeds a bound, or in which a force
 * evaluation failed, is undone and repeated with plain QM steps (period 1 for C and Q, no surrogate, the same random
 * numbers). Too many such fallbacks in a row are an error; the state is then that at the start of the last outer step.
 *
 * Stored forces are used again only if positions, box and parameters are, to the last bit, what they were computed for,
 * whoever may have changed them.
 *
 * Energies that OpenMM reports for this integrator's own force groups (getIntegrationForceGroups(): C and Q) are those
 * of the Hamiltonian. Forces in OpenMM that act once per integrator step (barostats, CMMotionRemover) act once per
 * outer step.
 */
class KSTEP_EXPORT KStepIntegrator : public OpenMM::Integrator {
public:
    /** A force group and its period in inner steps. */
    struct Level {
        int group;
        int period;
    };
    /**
     * Dynamics at constant energy.
     *
     * @param innerStepSize  length of an inner step (ps)
     * @param k              inner steps per outer step, that is, per QM call
     */
    KStepIntegrator(double innerStepSize, int k);
    /**
     * Langevin dynamics.
     *
     * @param temperature    temperature of the heat bath (K)
     * @param friction       friction coefficient (1/ps)
     * @param innerStepSize  length of an inner step (ps)
     * @param k              inner steps per outer step, that is, per QM call
     */
    KStepIntegrator(double temperature, double friction, double innerStepSize, int k);
    ~KStepIntegrator() override;

    /** The length of an outer step, k inner steps (ps). */
    double getStepSize() const override;
    /** Set the length of an outer step (ps); the inner step becomes size / k. */
    void setStepSize(double size) override;
    double getInnerStepSize() const { return innerStepSize; }
    void setInnerStepSize(double size);
    int getK() const { return k; }
    /** Set the number of inner steps per outer step; the inner step stays as it is. */
    void setK(int k);
    double getTemperature() const { return temperature; }
    void setTemperature(double temperature);
    double getFriction() const { return friction; }
    void setFriction(double friction);
    int getRandomNumberSeed() const { return randomNumberSeed; }
    /** Set the seed of the thermostat's noise; 0 (the default) takes a new one for every Context. */
    void setRandomNumberSeed(int seed) { randomNumberSeed = seed; }

    // Groups, levels and monitored particles are read when a Context is created; later they cannot be changed.

    /**
     * Add a force group that every level shares. Without any, group 0 with period 1 is taken.
     *
     * @param group   force group, 0 to 31
     * @param period  inner steps between its impulses; divides k
     * @return the index of the group among the common ones
     */
    int addCommonGroup(int group, int period = 1);
    const std::vector<Level> &getCommonGroups() const { return commonGroups; }
    /**
     * Add the next better surrogate level. Without any, group 1 with period 1 is taken if the System
     * has forces in it; with k = 1 no surrogate is needed.
     *
     * @param group   force group, 0 to 31
     * @param period  inner steps between its impulses; 1 for the first, then a multiple of the level below
     * @return the index of the level among the surrogates
     */
    int addSurrogateLevel(int group, int period = 1);
    const std::vector<Level> &getSurrogateLevels() const { return surrogateLevels; }
    /** The surrogate levels that were added, or the default one if the System has forces in its group. */
    std::vector<Level> findSurrogateLevels(const OpenMM::System &system) const;
    int getQMGroup() const { return qmGroup; }
    /** Set the force group of the QM level (default 2). */
    void setQMGroup(int group);

    /**
     * The particles over which the correction F_Q - F_S is measured, normally the QM region. When empty (the default):
     * all particles with a mass.
     */
    const std::vector<int> &getMonitoredParticles() const { return monitoredParticles; }
    void setMonitoredParticles(const std::vector<int> &particles);
    double getMaxCorrection() const { return maxCorrection; }
    /** Set the bound of |F_Q - F_S| on any monitored particle above which an outer step is redone (kJ/mol/nm). */
    void setMaxCorrection(double bound);
    double getMaxEnergyError() const { return maxEnergyError; }
    /**
     * Set the bound of the energy error of one outer step above which it is redone (kJ/mol), in Systems of up to 10,000
     * particles. The noise of MM forces grows with the square root of their number, and beyond them so does the bound.
     */
    void setMaxEnergyError(double bound);
    int getMaxConsecutiveFallbacks() const { return maxConsecutiveFallbacks; }
    /** Set how many outer steps in a row may fall back to plain QM steps before step() gives up with an error. */
    void setMaxConsecutiveFallbacks(int number);

    /**
     * Follows from the groups above: C and Q, the groups of the Hamiltonian.
     *
     * @throws OpenMMException for anything else
     */
    void setIntegrationForceGroups(int groups) override;

    /**
     * What was counted and measured so far.
     *
     * @throws OpenMMException if there is no Context
     */
    KStepStatistics getStatistics() const;
    /**
     * Take outer steps. If the user interrupts from Python, it returns after the last complete one, and Python raises
     * KeyboardInterrupt.
     *
     * @throws OpenMMException if the state is not finite at the start, if more outer steps in a row fell back than
     *         allowed, or if the QM level fails at a state from which there is nothing to fall back to
     * @throws InterruptedException if the user interrupts in another way
     */
    void step(int steps) override;

protected:
    void initialize(OpenMM::ContextImpl &context) override;
    void cleanup() override;
    std::vector<std::string> getKernelNames() override;
    void stateChanged(OpenMM::State::DataType changed) override;
    double computeKineticEnergy() override;
    bool kineticEnergyRequiresForce() const override { return false; }
    void createCheckpoint(std::ostream &stream) const override;
    void loadCheckpoint(std::istream &stream) override;

private:
    class Integration;
    bool isNamed(int group) const;
    int findIntegrationForceGroups() const;
    void refuseInContext(const char *what) const;
    double innerStepSize, temperature, friction;
    int k, randomNumberSeed = 0, qmGroup = 2;
    std::vector<Level> commonGroups, surrogateLevels;
    std::vector<int> monitoredParticles;
    double maxCorrection = 5000, maxEnergyError = 50;
    int maxConsecutiveFallbacks = 10;
    OpenMM::Kernel kernel;
    std::unique_ptr<Integration> integration;
};

} // namespace KStep

#endif
