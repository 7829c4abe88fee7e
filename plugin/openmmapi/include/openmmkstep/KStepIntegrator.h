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
    /**
     * Outer steps that Metropolis accepted and rejected, and of the latter those that the guard refused. A rejected
     * step ends where it started: the correction there is counted once more, and heat, energy errors and the kinetic
     * energies of region and rest stay as they were.
     */
    long long acceptedSteps = 0, rejectedSteps = 0, guardRejections = 0;
    /** Rejections after which all velocities turned round. */
    long long flips = 0;
    /** Accepted steps of all that Metropolis decided on; nothing before the first. */
    std::optional<double> acceptance;
    /** Error of the last outer step by which Metropolis decides (kJ/mol); nothing if it was not measured. */
    std::optional<double> metropolisError;
    /** Mean of min(1, exp(-error/kT)), 0 for steps that the guard refused; in mode Monitor too. */
    std::optional<double> meanAcceptanceProbability;
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
 * The same holds for steps that are rejected in their place under Metropolis.
 *
 * setMetropolis() makes the distribution that is sampled exact, whatever the surrogate is: an outer step is accepted
 * with the probability min(1, exp(-error/kT)), and else positions go back to the start of the step and velocities turn
 * round (generalised hybrid Monte Carlo: Horowitz, Phys. Lett. B 268, 247 (1991)). That needs no further QM call. In
 * mode Full the error is that of T + U_C + U_Q less the heat, the work of Sivak, Chodera and Crooks (Phys. Rev. X 3,
 * 011007 (2013)), and the canonical distribution of T + U_C + U_Q is exact; but that error grows with the number of
 * particles, and acceptance falls. In mode Correction it is what the correction alone adds, the changes of the kinetic
 * energy in its two half kicks and that of U_Q - U_S, S being the best surrogate. Then U_Q - U_S is exact, on top of
 * what the inner steps sample with S: the same that plain dynamics of this inner step and these periods samples, with
 * its (small) error of the inner step; and acceptance does not depend on the size of the solvent. With k = 1 there is
 * no correction, and all is accepted. In mode Monitor that error is measured and nothing is rejected.
 *
 * A rejected step counts as a step: time goes on, the QM call is spent, and the state that is there is sampled once
 * more. So time is then a count of steps, and where steps are rejected the kinetics are not those of the dynamics.
 * Steps that the guard would redo (non-finite, failed, beyond a bound) are rejected as well, because redoing them some
 * other way would break detailed balance; states with a correction beyond the bound are so left out of the ensemble.
 * Only at a start that is beyond the bound itself, from which there is no way into the ensemble, plain QM steps are
 * taken.
 *
 * Turning round makes the dynamics wander. setThermostatInterval() leaves friction and noise to every n-th outer step,
 * and setReducedFlips() then turns velocities round after a rejection in the steps without noise only as often as
 * balance needs. With r(z) the probability of rejection at state z and Rz the state with velocities reversed, a flip
 * with probability f(z), f(z) - f(Rz) = r(z) - r(Rz), keeps the distribution; the smallest is f(z) = max(0, r(z) -
 * r(Rz)) (Sohl-Dickstein, arXiv:1205.1939; Wagoner and Pande, J. Chem. Phys. 137, 214105 (2012)). r(Rz) follows from
 * the step that led to z, which its reverse undoes, if that was one without noise and nothing has changed since:
 * positions, box, parameters and settings not at all, velocities not by more than one part in 10^4, which a
 * CMMotionRemover stays below. If it is not known, velocities turn round.
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
    /** What decides whether an outer step is accepted: nothing, or the energy error of which part of the scheme. */
    enum class Metropolis { Off, Monitor, Correction, Full };
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
    Metropolis getMetropolis() const { return metropolis; }
    /** Set how outer steps are accepted. All but Off need a temperature above 0 when a step is taken. */
    void setMetropolis(Metropolis mode) { metropolis = mode; }
    /** "off", "monitor", "correction" or "full" */
    static std::string getMetropolisName(Metropolis mode);
    /** @throws OpenMMException for a name that is none of getMetropolisName() */
    static Metropolis findMetropolis(const std::string &name);
    int getThermostatInterval() const { return thermostatInterval; }
    /** Let friction and noise act in every n-th outer step only, then for the time of all n. */
    void setThermostatInterval(int n);
    bool getReducedFlips() const { return reducedFlips; }
    /** Set whether rejected steps without noise turn velocities round only as often as balance needs (the default). */
    void setReducedFlips(bool reduced) { reducedFlips = reduced; }
    int getRandomNumberSeed() const { return randomNumberSeed; }
    /** Set the seed of the thermostat's noise and of Metropolis' decisions; 0 (the default) takes a new one for every
     * Context. */
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
     * @throws OpenMMException if the state is not finite at the start, if more outer steps in a row fell back or were
     *         refused than allowed, if the QM level fails at a state from which there is nothing to fall back to, or if
     *         the temperature is 0 and Metropolis is not Off
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
    Metropolis metropolis = Metropolis::Off;
    int thermostatInterval = 1;
    bool reducedFlips = true;
    OpenMM::Kernel kernel;
    std::unique_ptr<Integration> integration;
};

} // namespace KStep

#endif
