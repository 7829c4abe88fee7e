#include "Integration.h"
#include "SystemDigest.h"
#include "openmm/Context.h"
#include "openmm/OpenMMException.h"
#include "openmm/reference/SimTKOpenMMRealType.h"
#include "openmmkstep/internal/Interruption.h"
#include "openmmkstep/internal/PeriodicBox.h"
#include <chrono>
#include <cmath>
#include <limits>
#include <random>

using OpenMM::ContextImpl;
using OpenMM::OpenMMException;
using OpenMM::Vec3;

namespace KStep {

KStepIntegrator::Integration::Integration(const KStepIntegrator &integrator, ContextImpl &context,
                                          PropagationKernel &kernel, const LevelSchedule &levelSchedule,
                                          const std::vector<int> &monitored)
    : integrator(integrator), context(context), kernel(kernel), schedule(levelSchedule),
      statistics(levelSchedule.getNumSurrogates(), monitored.size()), evaluator(schedule, context, kernel, statistics),
      outerStep(schedule, integrator, context, kernel, evaluator),
      guard(integrator, context.getSystem().getNumParticles()), acceptance(integrator.getRandomNumberSeed()),
      systemDigest(digestSystem(context.getSystem())) {
    std::random_device random;
    identity = (static_cast<std::uint64_t>(random()) << 32) | random();
}

KStepIntegrator::Integration::Box KStepIntegrator::Integration::getBox() const {
    Box vectors;
    context.getPeriodicBoxVectors(vectors[0], vectors[1], vectors[2]);
    return vectors;
}

void KStepIntegrator::Integration::stateChanged(OpenMM::State::DataType changed) {
    if (changed == OpenMM::State::Positions) {
        positionsMayDiffer = true;
        if (announcement == Announcement::Expected)
            announcement = Announcement::Begun;
    } else if (changed == OpenMM::State::Energy) {
        if (announcement != Announcement::Begun) {
            systemChanges++;
            forcesAreStored = false;
        }
        announcement = Announcement::None;
    }
}

KStepStatistics KStepIntegrator::Integration::getStatistics() const {
    KStepStatistics values = statistics.values;
    values.otherQMCalls = evaluator.countOtherQMCalls();
    if (values.otherQMCalls && loadedOtherQMCalls)
        *values.otherQMCalls += *loadedOtherQMCalls;
    return values;
}

void KStepIntegrator::Integration::makePropagators() {
    k = integrator.getK();
    const auto make = [&](const LevelSchedule::Table &table) {
        return std::make_unique<FlowPropagator>(table, schedule, integrator, context, kernel, evaluator, statistics);
    };
    levels = make(schedule.makeTable(k));
    plain = make(schedule.makePlainTable(k));
}

/**
 * Whether the stored forces are those of the present state, as far as it can be told without asking a device that is at
 * work: positions that changed without an announcement are found in beginStep().
 */
bool KStepIntegrator::Integration::forcesBelongToState() const {
    return forcesAreStored && getBox() == box && context.getOwner().getParameters() == parameters &&
           (!positionsMayDiffer || kernel.isAtMark(context));
}

void KStepIntegrator::Integration::requireFiniteState() {
    std::vector<Vec3> positions;
    context.getPositions(positions);
    bool isSound = std::isfinite(kernel.computeKineticEnergy(context));
    for (const Vec3 &position : positions)
        isSound = isSound && isFinite(position);
    if (!isSound)
        throw OpenMMException("KStepIntegrator: the positions or velocities to start from are not finite; check the "
                              "input structure, or minimise it");
}

void KStepIntegrator::Integration::computeForces() {
    forcesAreStored = false;
    acceptance.forget();
    requireFiniteState();
    end = evaluator.evaluateEnd(current, false, outerStep.measuresCorrection());
    const int top = schedule.getTopSurrogate();
    if (top >= 0 && !end.rejection)
        end.correction = kernel.compareForces(context, evaluator.getBuffer(current, schedule.getQMSlot()),
                                              evaluator.getBuffer(current, top));
    guard.judge(end);
    kernel.mark(context);
    box = getBox();
    parameters = context.getOwner().getParameters();
    forcesAreStored = true;
    positionsMayDiffer = false;
}

void KStepIntegrator::Integration::requireTemperature() const {
    if (integrator.getMetropolis() != Metropolis::Off && !(integrator.getTemperature() > 0))
        throw OpenMMException("KStepIntegrator: Metropolis accepts steps by their energy error in units of kT, but the "
                              "temperature is 0; set it with setTemperature(), or create the integrator with "
                              "(temperature, friction, innerStepSize, k)");
}

void KStepIntegrator::Integration::prepareStep() {
    if (Interruption::isRequested())
        throw InterruptedException();
    requireTemperature();
    if (k != integrator.getK() || !levels) {
        schedule.checkK(integrator.getK());
        makePropagators();
    }
    if (context.updateContextState())
        forcesAreStored = false;
    if (!forcesBelongToState())
        computeForces();
    positionsMayDiffer = false;
    // Not asked for at the end of the last step if Metropolis, or k, was another then.
    if (outerStep.measuresCorrection() && !end.rejection && !end.surrogateEnergy)
        end.surrogateEnergy = evaluator.measureEnergy(schedule.getTopSurrogate());
    acceptance.checkSettings(integrator);
}

void KStepIntegrator::Integration::step() {
    const auto start = std::chrono::steady_clock::now();
    const double forceTimeBefore = statistics.getForceTime();
    prepareStep();
    while (!tryStep())
        computeForces();
    context.setTime(context.getTime() + integrator.getStepSize());
    context.setStepCount(context.getStepCount() + 1);
    const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    statistics.values.integratorTime += elapsed - (statistics.getForceTime() - forceTimeBefore);
}

bool KStepIntegrator::Integration::tryStep() {
    if (kernel.beginStep(context) == PropagationKernel::Comparison::Different)
        return false;
    const Metropolis mode = integrator.getMetropolis();
    statistics.values.metropolisError.reset();
    // From a start that is not in the ensemble plain steps lead into it: none of those in it lead out.
    if ((mode == Metropolis::Correction || mode == Metropolis::Full) && (k == 1 || !end.rejection))
        return tryTestedStep();
    Attempt attempt;
    // With k = 1 the surrogates have no weight: the step is a plain one anyway, and there is nothing to fall back to.
    const bool isPlain = k == 1;
    std::optional<std::string> rejection;
    if (!isPlain) {
        rejection = end.rejection;
        if (!rejection) {
            try {
                attempt = outerStep.take(*levels, current, true);
                guard.judge(attempt.end);
                rejection = guard.findRejection(end, attempt);
            } catch (const InterruptedException &) {
                kernel.restoreState(context, PropagationKernel::Noise::Restored);
                throw;
            } catch (const std::exception &error) {
                rejection = error.what();
            }
            if (attempt.summary.startDiffered) {
                kernel.restoreState(context, PropagationKernel::Noise::Restored);
                return false;
            }
            if (rejection)
                kernel.restoreState(context, PropagationKernel::Noise::Restored);
        }
        if (rejection) {
            statistics.values.lastFallbackReason = *rejection;
            if (statistics.values.consecutiveFallbacks >= integrator.getMaxConsecutiveFallbacks())
                giveUp(*rejection, false);
        }
    }
    if ((isPlain || rejection) && !takePlainStep(attempt))
        return false;
    acceptance.forget();
    if (mode == Metropolis::Monitor && !end.rejection)
        monitor(attempt, rejection.has_value());
    keep(attempt, rejection.has_value());
    return true;
}

bool KStepIntegrator::Integration::tryTestedStep() {
    Attempt attempt;
    std::optional<std::string> fault;
    const bool isPlain = k == 1;
    Propagator &map = isPlain ? *plain : *levels;
    const bool isDeterministic = map.isDeterministic();
    try {
        attempt = outerStep.take(map, current, !isPlain);
        guard.judge(attempt.end);
        fault = isPlain ? guard.findFault(end, attempt) : guard.findRejection(end, attempt);
    } catch (const InterruptedException &) {
        kernel.restoreState(context, PropagationKernel::Noise::Restored);
        throw;
    } catch (const std::exception &error) {
        fault = error.what();
    }
    if (!attempt.isComplete)
        attempt.summary = kernel.finishStep(context, -1, -1);
    if (attempt.summary.startDiffered) {
        kernel.restoreState(context, PropagationKernel::Noise::Restored);
        return false;
    }
    double error = std::numeric_limits<double>::infinity();
    if (!fault) {
        const double found = findMetropolisError(attempt);
        if (std::isfinite(found))
            error = found;
        else
            fault = "the energy of the surrogate is not finite";
    }
    if (fault) {
        statistics.values.lastFallbackReason = *fault;
        if (statistics.values.consecutiveFallbacks >= integrator.getMaxConsecutiveFallbacks()) {
            kernel.restoreState(context, PropagationKernel::Noise::Restored);
            giveUp(*fault, true);
        }
    }
    if (attempt.summary.velocitiesDiffered)
        acceptance.forget();
    const double kT = BOLTZ * integrator.getTemperature();
    const auto verdict = acceptance.decide(error, kT, isDeterministic, integrator.getReducedFlips());
    const bool isAccepted = verdict == Acceptance::Verdict::Accepted;
    statistics.addAcceptance(fault ? std::nullopt : std::optional(error), Acceptance::findProbability(error, kT));
    statistics.addDecision(isAccepted);
    if (isAccepted)
        keep(attempt, false);
    else
        reject(attempt, fault.has_value(), verdict == Acceptance::Verdict::Flipped);
    return true;
}

double KStepIntegrator::Integration::findMetropolisError(const Attempt &attempt) const {
    if (integrator.getMetropolis() == Metropolis::Full)
        return attempt.findEnergyError(end);
    if (!outerStep.measuresCorrection())
        return 0;
    return attempt.summary.kickWork + (attempt.end.qmEnergy - attempt.end.surrogateEnergy.value()) -
           (end.qmEnergy - end.surrogateEnergy.value());
}

/** The stored forces are still those of the positions. */
void KStepIntegrator::Integration::reject(const Attempt &attempt, bool byGuard, bool isFlipped) {
    kernel.restoreState(context, PropagationKernel::Noise::Spent);
    if (isFlipped)
        kernel.reverseVelocities(context);
    kernel.mark(context);
    statistics.addRejectedStep(end, attempt.summary.startKineticEnergy, byGuard, isFlipped);
}

void KStepIntegrator::Integration::monitor(const Attempt &attempt, bool isRejected) {
    const double error = isRejected ? std::numeric_limits<double>::infinity() : findMetropolisError(attempt);
    if (std::isfinite(error))
        statistics.addAcceptance(error, Acceptance::findProbability(error, BOLTZ * integrator.getTemperature()));
    else
        statistics.addAcceptance(std::nullopt, 0);
}

void KStepIntegrator::Integration::giveUp(const std::string &reason, bool isTested) const {
    const std::string number = "KStepIntegrator: " + std::to_string(statistics.values.consecutiveFallbacks);
    if (isTested)
        throw OpenMMException(
            number +
            " outer steps in a row were refused before Metropolis could decide, and the next "
            "would be too (" +
            reason +
            "). The surrogate does not describe this state, or k is too large for it, or the state is "
            "far from equilibrium: run without Metropolis first; the state is that before the last "
            "outer step");
    throw OpenMMException(number + " outer steps in a row fell back to plain QM steps, and the next would too (" +
                          reason +
                          "). The surrogate does not describe this state, or k is too large for it; the state is that "
                          "before the last outer step");
}

bool KStepIntegrator::Integration::takePlainStep(Attempt &attempt) {
    try {
        attempt = outerStep.take(*plain, current, false);
        if (!attempt.summary.isFinite)
            throw OpenMMException("KStepIntegrator: positions or velocities are not finite, with plain QM steps too");
    } catch (...) {
        kernel.restoreState(context, PropagationKernel::Noise::Restored);
        // Perhaps it is the stored forces that are wrong: they are asked for anew if the user tries again.
        forcesAreStored = false;
        throw;
    }
    if (attempt.summary.startDiffered) {
        kernel.restoreState(context, PropagationKernel::Noise::Restored);
        return false;
    }
    guard.judge(attempt.end);
    return true;
}

void KStepIntegrator::Integration::keep(const Attempt &attempt, bool fellBack) {
    statistics.addStep(end, attempt.end, attempt.summary, fellBack);
    current = 1 - current;
    end = attempt.end;
    kernel.mark(context);
}

} // namespace KStep
