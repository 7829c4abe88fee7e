#include "Propagation.h"
#include "openmm/Context.h"
#include "openmm/OpenMMException.h"
#include <cmath>
#include <sstream>

using OpenMM::ContextImpl;
using OpenMM::OpenMMException;
using OpenMM::Vec3;

namespace KStep {

namespace {

double secondsSince(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string describeExcess(const std::string &what, double value, const std::string &unit, double bound) {
    std::ostringstream text;
    text << what << " of " << value << " " << unit << " exceeds the bound of " << bound;
    return text.str();
}

} // namespace

KStepIntegrator::Propagation::Propagation(const KStepIntegrator &integrator, ContextImpl &context,
                                          PropagationKernel &kernel, const Ladder &ladder)
    : integrator(integrator), context(context), kernel(kernel), ladder(ladder),
      monitoredParticles(integrator.getMonitoredParticles()) {
    const OpenMM::System &system = context.getSystem();
    if (monitoredParticles.empty())
        for (int i = 0; i < system.getNumParticles(); i++)
            if (system.getParticleMass(i) != 0)
                monitoredParticles.push_back(i);
    statistics.surrogateCalls.assign(ladder.getSurrogates().size(), 0);
    statistics.surrogateTime.assign(ladder.getSurrogates().size(), 0);
}

double KStepIntegrator::Propagation::evaluate(int groups, bool includeEnergy, double &time) {
    const auto start = Clock::now();
    const double energy = context.calcForcesAndEnergy(true, includeEnergy, groups);
    time += secondsSince(start);
    return energy;
}

void KStepIntegrator::Propagation::evaluateInterior(int innerStep) {
    const double d = integrator.getInnerStepSize();
    kernel.clearImpulse(interiorBuffer);
    for (const Ladder::Term &term : ladder.getCommonTerms(innerStep)) {
        evaluate(term.groups, false, statistics.commonTime);
        statistics.commonCalls++;
        kernel.addForces(context, interiorBuffer, term.weight * d);
    }
    for (size_t level = 0; level < ladder.getSurrogates().size(); level++) {
        const int weight = ladder.getSurrogateWeight(level, innerStep, integrator.getK());
        if (weight == 0)
            continue;
        evaluate(1 << ladder.getSurrogates()[level].group, false, statistics.surrogateTime[level]);
        statistics.surrogateCalls[level]++;
        kernel.addForces(context, interiorBuffer, weight * d);
    }
}

void KStepIntegrator::Propagation::evaluatePlain() {
    const double d = integrator.getInnerStepSize();
    kernel.clearImpulse(interiorBuffer);
    if (ladder.getCommonGroups() != 0) {
        evaluate(ladder.getCommonGroups(), false, statistics.commonTime);
        statistics.commonCalls++;
        kernel.addForces(context, interiorBuffer, d);
    }
    evaluate(1 << ladder.getQMGroup(), false, statistics.qmTime);
    statistics.qmCalls++;
    kernel.addForces(context, interiorBuffer, d);
}

KStepIntegrator::Propagation::Boundary KStepIntegrator::Propagation::evaluateBoundary(int side, bool stopAtObstacle) {
    const double d = integrator.getInnerStepSize();
    const int k = integrator.getK();
    Boundary result;
    kernel.clearImpulse(ladderBuffer(side));
    kernel.clearImpulse(plainBuffer(side));
    kernel.clearImpulse(correctionBuffer);
    for (const Ladder::Term &term : ladder.getCommonTerms(0)) {
        result.potentialEnergy += evaluate(term.groups, true, statistics.commonTime);
        statistics.commonCalls++;
        kernel.addForces(context, ladderBuffer(side), term.weight * d);
        kernel.addForces(context, plainBuffer(side), d);
    }
    // The QM call comes last: a surrogate that already failed here makes it unnecessary.
    for (size_t level = 0; level < ladder.getSurrogates().size(); level++) {
        const bool isTop = level + 1 == ladder.getSurrogates().size();
        const int weight = ladder.getSurrogateWeight(level, 0, k);
        if (weight == 0 && !isTop)
            continue;
        try {
            evaluate(1 << ladder.getSurrogates()[level].group, false, statistics.surrogateTime[level]);
        } catch (const std::exception &error) {
            result.obstacle = error.what();
            if (stopAtObstacle)
                return result;
            break;
        }
        statistics.surrogateCalls[level]++;
        if (weight != 0)
            kernel.addForces(context, ladderBuffer(side), weight * d);
        if (isTop)
            kernel.addForces(context, correctionBuffer, -1);
    }
    result.potentialEnergy += evaluate(1 << ladder.getQMGroup(), true, statistics.qmTime);
    statistics.qmCalls++;
    kernel.addForces(context, ladderBuffer(side), k * d);
    kernel.addForces(context, plainBuffer(side), d);
    if (!std::isfinite(result.potentialEnergy))
        throw OpenMMException("KStepIntegrator: the energy of the common or QM forces is not finite");
    if (ladder.getSurrogates().empty() || !result.obstacle.empty())
        return result;
    kernel.addForces(context, correctionBuffer, 1);
    const PropagationKernel::Norm norm = kernel.measure(correctionBuffer, monitoredParticles);
    result.correctionRMS = std::sqrt(norm.sumOfSquares / (3.0 * static_cast<double>(monitoredParticles.size())));
    result.maxCorrection = norm.maxNorm;
    if (!std::isfinite(norm.maxNorm))
        result.obstacle = "the forces of the surrogate are not finite";
    else if (norm.maxNorm > integrator.getMaxCorrection())
        result.obstacle =
            describeExcess("a correction", norm.maxNorm, "kJ/mol/nm on one particle", integrator.getMaxCorrection());
    return result;
}

double KStepIntegrator::Propagation::advance() {
    const double d = integrator.getInnerStepSize();
    const double tolerance = integrator.getConstraintTolerance();
    const double friction = integrator.getFriction();
    statistics.innerSteps++;
    if (friction == 0) {
        kernel.drift(context, d, tolerance);
        return 0;
    }
    kernel.drift(context, d / 2, tolerance);
    const double heat = kernel.thermostat(context, std::exp(-friction * d), integrator.getTemperature(), tolerance);
    kernel.drift(context, d / 2, tolerance);
    return heat;
}

std::string KStepIntegrator::Propagation::takeLadderStep(Boundary &end, double &heat) {
    const double tolerance = integrator.getConstraintTolerance();
    heat = 0;
    try {
        kernel.kick(context, ladderBuffer(current), 0.5, tolerance);
        for (int innerStep = 1; innerStep <= integrator.getK(); innerStep++) {
            heat += advance();
            if (innerStep == integrator.getK())
                break;
            evaluateInterior(innerStep);
            kernel.kick(context, interiorBuffer, 1, tolerance);
        }
        if (!kernel.stateIsFinite(context))
            return "positions or velocities are not finite";
        end = evaluateBoundary(1 - current, true);
        if (!end.obstacle.empty())
            return end.obstacle;
        kernel.kick(context, ladderBuffer(1 - current), 0.5, tolerance);
    } catch (const std::exception &error) {
        return error.what();
    }
    if (!kernel.stateIsFinite(context))
        return "positions or velocities are not finite";
    return "";
}

void KStepIntegrator::Propagation::takePlainSteps(Boundary &end, double &heat) {
    const double tolerance = integrator.getConstraintTolerance();
    heat = 0;
    kernel.kick(context, plainBuffer(current), 0.5, tolerance);
    for (int innerStep = 1; innerStep <= integrator.getK(); innerStep++) {
        heat += advance();
        if (!kernel.stateIsFinite(context))
            throw OpenMMException("KStepIntegrator: positions or velocities are not finite, with plain QM steps too");
        if (innerStep == integrator.getK())
            break;
        evaluatePlain();
        kernel.kick(context, interiorBuffer, 1, tolerance);
    }
    end = evaluateBoundary(1 - current, false);
    kernel.kick(context, plainBuffer(1 - current), 0.5, tolerance);
    if (!kernel.stateIsFinite(context))
        throw OpenMMException("KStepIntegrator: positions or velocities are not finite, with plain QM steps too");
}

bool KStepIntegrator::Propagation::boundaryMatchesContext() {
    std::array<Vec3, 3> box;
    context.getPeriodicBoxVectors(box[0], box[1], box[2]);
    return box == boundaryBox && context.getOwner().getParameters() == boundaryParameters &&
           kernel.positionsEqual(context, boundaryPositions);
}

void KStepIntegrator::Propagation::rememberBoundary() {
    context.getPositions(boundaryPositions);
    context.getPeriodicBoxVectors(boundaryBox[0], boundaryBox[1], boundaryBox[2]);
    boundaryParameters = context.getOwner().getParameters();
    boundaryIsValid = true;
    mustCompare = false;
}

void KStepIntegrator::Propagation::requireFiniteStart() {
    if (!kernel.stateIsFinite(context))
        throw OpenMMException("KStepIntegrator: the positions or velocities to start from are not finite; check the "
                              "input structure, or minimise it");
}

void KStepIntegrator::Propagation::step() {
    const auto start = Clock::now();
    auto forceTime = [this]() {
        double sum = statistics.qmTime + statistics.commonTime;
        for (double time : statistics.surrogateTime)
            sum += time;
        return sum;
    };
    const double forceTimeBefore = forceTime();
    ladder.checkPeriods(integrator.getK());
    if (context.updateContextState())
        boundaryIsValid = false;
    if (boundaryIsValid && mustCompare)
        boundaryIsValid = boundaryMatchesContext();
    if (!boundaryIsValid) {
        requireFiniteStart();
        boundary = evaluateBoundary(current, false);
        rememberBoundary();
    }
    mustCompare = false;

    const double startEnergy = boundary.potentialEnergy + kernel.computeKineticEnergy(context);
    kernel.saveState(context);
    Boundary end;
    double heat = 0;
    // With k = 1 the ladder has no weight: the step is a plain one anyway, and there is nothing to fall back to.
    const bool isPlain = integrator.getK() == 1;
    std::string reason = isPlain ? "" : boundary.obstacle;
    if (!isPlain && reason.empty()) {
        reason = takeLadderStep(end, heat);
        if (reason.empty()) {
            const double error = end.potentialEnergy + kernel.computeKineticEnergy(context) - startEnergy - heat;
            if (!(std::abs(error) <= integrator.getMaxEnergyError()))
                reason = describeExcess("an energy error", std::abs(error), "kJ/mol in one outer step",
                                        integrator.getMaxEnergyError());
        }
        if (!reason.empty())
            kernel.restoreState(context);
    }
    const bool fallBack = !reason.empty();
    if (fallBack) {
        statistics.lastFallbackReason = reason;
        if (statistics.consecutiveFallbacks >= integrator.getMaxConsecutiveFallbacks())
            throw OpenMMException(
                "KStepIntegrator: " + std::to_string(statistics.consecutiveFallbacks) +
                " outer steps in a row fell back to plain QM steps, and the next would too (" + reason +
                "). The surrogate does not describe this state, or k is too large for it; the state is that before the "
                "last outer step");
    }
    if (fallBack || isPlain) {
        try {
            takePlainSteps(end, heat);
        } catch (...) {
            kernel.restoreState(context);
            throw;
        }
    }
    account(end, startEnergy, heat, fallBack);
    current = 1 - current;
    boundary = end;
    rememberBoundary();
    context.setTime(context.getTime() + integrator.getStepSize());
    context.setStepCount(context.getStepCount() + 1);
    statistics.integratorTime += secondsSince(start) - (forceTime() - forceTimeBefore);
}

void KStepIntegrator::Propagation::account(const Boundary &end, double startEnergy, double heat, bool fellBack) {
    statistics.outerSteps++;
    statistics.fallbacks += fellBack ? 1 : 0;
    statistics.consecutiveFallbacks = fellBack ? statistics.consecutiveFallbacks + 1 : 0;
    statistics.correctionRMS = end.correctionRMS;
    statistics.maxCorrection = end.maxCorrection;
    sumOfCorrectionRMS += end.correctionRMS * end.correctionRMS;
    statistics.meanCorrectionRMS = std::sqrt(sumOfCorrectionRMS / static_cast<double>(statistics.outerSteps));
    statistics.potentialEnergy = end.potentialEnergy;
    statistics.totalEnergy = end.potentialEnergy + kernel.computeKineticEnergy(context);
    statistics.heat += heat;
    statistics.energyError = statistics.totalEnergy - startEnergy - heat;
    statistics.cumulativeEnergyError += statistics.energyError;
}

} // namespace KStep
