#include "Integration.h"
#include "SystemDigest.h"
#include "openmm/Context.h"
#include "openmm/OpenMMException.h"
#include "openmmkstep/internal/Interruption.h"
#include "openmmkstep/internal/PeriodicBox.h"
#include <chrono>
#include <cmath>
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
      guard(integrator, context.getSystem().getNumParticles()), systemDigest(digestSystem(context.getSystem())) {
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
    requireFiniteState();
    end = evaluator.evaluateEnd(current, false);
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

void KStepIntegrator::Integration::prepareStep() {
    if (Interruption::isRequested())
        throw InterruptedException();
    if (k != integrator.getK() || !levels) {
        schedule.checkK(integrator.getK());
        makePropagators();
    }
    if (context.updateContextState())
        forcesAreStored = false;
    if (!forcesBelongToState())
        computeForces();
    positionsMayDiffer = false;
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
                kernel.restoreState(context);
                throw;
            } catch (const std::exception &error) {
                rejection = error.what();
            }
            if (attempt.summary.startDiffered) {
                kernel.restoreState(context);
                return false;
            }
            if (rejection)
                kernel.restoreState(context);
        }
        if (rejection) {
            statistics.values.lastFallbackReason = *rejection;
            if (statistics.values.consecutiveFallbacks >= integrator.getMaxConsecutiveFallbacks())
                giveUp(*rejection);
        }
    }
    if ((isPlain || rejection) && !takePlainStep(attempt))
        return false;
    keep(attempt, rejection.has_value());
    return true;
}

void KStepIntegrator::Integration::giveUp(const std::string &reason) const {
    throw OpenMMException("KStepIntegrator: " + std::to_string(statistics.values.consecutiveFallbacks) +
                          " outer steps in a row fell back to plain QM steps, and the next would too (" + reason +
                          "). The surrogate does not describe this state, or k is too large for it; the state is that "
                          "before the last outer step");
}

bool KStepIntegrator::Integration::takePlainStep(Attempt &attempt) {
    try {
        attempt = outerStep.take(*plain, current, false);
        if (!attempt.summary.isFinite)
            throw OpenMMException("KStepIntegrator: positions or velocities are not finite, with plain QM steps too");
    } catch (...) {
        kernel.restoreState(context);
        // Perhaps it is the stored forces that are wrong: they are asked for anew if the user tries again.
        forcesAreStored = false;
        throw;
    }
    if (attempt.summary.startDiffered) {
        kernel.restoreState(context);
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
