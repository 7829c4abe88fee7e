#ifndef OPENMMKSTEP_INTEGRATION_H_
#define OPENMMKSTEP_INTEGRATION_H_

#include "Acceptance.h"
#include "Evaluator.h"
#include "FlowPropagator.h"
#include "Guard.h"
#include "LevelSchedule.h"
#include "OuterStep.h"
#include "Statistics.h"
#include "openmm/internal/ContextImpl.h"
#include "openmmkstep/KStepIntegrator.h"
#include "openmmkstep/internal/PropagationKernel.h"
#include <array>
#include <cstdint>
#include <map>
#include <memory>

namespace KStep {

/**
 * A KStepIntegrator at work in a Context: the forces stored at the present positions and whether they still belong to
 * them, steps that are tried, kept or redone, and checkpoints. It works through ContextImpl and PropagationKernel only,
 * so it is the same on every platform.
 */
class KStepIntegrator::Integration {
public:
    Integration(const KStepIntegrator &integrator, OpenMM::ContextImpl &context, PropagationKernel &kernel,
                const LevelSchedule &schedule, const std::vector<int> &monitored);
    void step();
    /** OpenMM says that something changed; what, is looked at in the next step. */
    void stateChanged(OpenMM::State::DataType changed);
    /** Forget the forces at the present positions. */
    void forgetForces() { forcesAreStored = false; }
    KStepStatistics getStatistics() const;
    void createCheckpoint(std::ostream &stream);
    void loadCheckpoint(std::istream &stream);

private:
    using Box = std::array<OpenMM::Vec3, 3>;
    Box getBox() const;
    void prepareStep();
    void makePropagators();
    bool forcesBelongToState() const;
    void computeForces();
    void requireFiniteState();
    /** Try one outer step; false if it began from other positions than those of the stored forces and must be repeated.
     */
    bool tryStep();
    /** Try one outer step and let Metropolis decide; false as from tryStep(). */
    bool tryTestedStep();
    /** The error of energy by which Metropolis decides (kJ/mol). */
    double findMetropolisError(const Attempt &attempt) const;
    void reject(const Attempt &attempt, bool byGuard, bool isFlipped);
    /** Account for what Metropolis would do; rejected if the guard refused. */
    void monitor(const Attempt &attempt, bool isRejected);
    void requireTemperature() const;
    bool takePlainStep(Attempt &attempt);
    void keep(const Attempt &attempt, bool fellBack);
    [[noreturn]] void giveUp(const std::string &reason, bool isTested) const;
    std::vector<int> getStoredGroups() const;
    void writeForces(std::ostream &stream) const;
    void readForces(std::istream &stream);

    const KStepIntegrator &integrator;
    OpenMM::ContextImpl &context;
    PropagationKernel &kernel;
    LevelSchedule schedule;
    Statistics statistics;
    Evaluator evaluator;
    OuterStep outerStep;
    Guard guard;
    Acceptance acceptance;
    int k = 0;
    std::unique_ptr<FlowPropagator> levels, plain;

    // What is stored at the present positions. The two ends swap roles when a step is kept.
    int current = 0;
    StepEnd end;
    Box box;
    std::map<std::string, double> parameters;
    bool forcesAreStored = false, positionsMayDiffer = true;

    // For what the stored forces of a checkpoint hold: of which Context, after how many calls of
    // updateParametersInContext() and the like, and of which System as it was when the Context was created.
    std::uint64_t identity;
    long long systemChanges = 0;
    std::optional<std::uint64_t> systemDigest;
    /** Context.loadCheckpoint() announces positions and then everything, right after it has called loadCheckpoint(). */
    enum class Announcement { None, Expected, Begun } announcement = Announcement::None;
    std::optional<long long> loadedOtherQMCalls;
};

} // namespace KStep

#endif
