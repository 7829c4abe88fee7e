#include "ReferencePropagationKernel.h"
#include "openmm/internal/ContextImpl.h"
#include "openmm/internal/OSRngSeed.h"
#include "openmm/reference/ReferenceConstraints.h"
#include "openmm/reference/ReferenceVirtualSites.h"
#include "openmm/reference/SimTKOpenMMRealType.h"
#include <cmath>
#include <limits>
#include <set>

using OpenMM::ContextImpl;
using OpenMM::Vec3;
using std::vector;

namespace KStep {

namespace {

/** Not a finite number if, and only if, one of the components is none. */
double sumOfComponents(const vector<Vec3> &vectors) {
    double sum = 0;
    for (const Vec3 &v : vectors)
        sum += 0 * (v[0] + v[1] + v[2]);
    return sum;
}

} // namespace

void ReferencePropagationKernel::initialize(const OpenMM::System &system, int numBuffers,
                                            const vector<int> &regionParticles, int seed) {
    const int numParticles = system.getNumParticles();
    masses.resize(numParticles);
    inverseMasses.resize(numParticles);
    inverseRootMasses.resize(numParticles);
    for (int i = 0; i < numParticles; i++) {
        masses[i] = system.getParticleMass(i);
        inverseMasses[i] = masses[i] == 0 ? 0 : 1 / masses[i];
        inverseRootMasses[i] = std::sqrt(inverseMasses[i]);
    }
    std::set<int> bound;
    for (int i = 0; i < system.getNumConstraints(); i++) {
        int first, second;
        double length;
        system.getConstraintParameters(i, first, second, length);
        bound.insert({first, second});
    }
    constrained.assign(bound.begin(), bound.end());
    region = regionParticles;
    buffers.assign(numBuffers, vector<Vec3>(numParticles));
    noise.seed(static_cast<unsigned int>(seed == 0 ? osrngseed() : seed));
}

void ReferencePropagationKernel::mark(ContextImpl &) {
    markedPositions = *data.positions;
    markedVelocities = *data.velocities;
}

bool ReferencePropagationKernel::isAtMark(ContextImpl &) {
    return *data.positions == markedPositions;
}

bool ReferencePropagationKernel::velocitiesAreAtMark(ContextImpl &) {
    const vector<Vec3> &velocities = *data.velocities;
    if (markedVelocities.size() != velocities.size())
        return false;
    double size = 0, change = 0;
    for (size_t i = 0; i < velocities.size(); i++) {
        const Vec3 difference = velocities[i] - markedVelocities[i];
        size += masses[i] * markedVelocities[i].dot(markedVelocities[i]);
        change += masses[i] * difference.dot(difference);
    }
    return change <= 1e-8 * size;
}

PropagationKernel::Comparison ReferencePropagationKernel::beginStep(ContextImpl &context) {
    summary = Summary();
    middleKineticEnergy = middleRegionKineticEnergy = 0;
    numMiddles = 0;
    summary.velocitiesDiffered = !velocitiesAreAtMark(context);
    summary.startDiffered = !isAtMark(context);
    if (summary.startDiffered)
        mark(context);
    savedVelocities = *data.velocities;
    savedNoise = noise;
    summary.startKineticEnergy = computeKineticEnergy(context);
    return summary.startDiffered ? Comparison::Different : Comparison::Same;
}

void ReferencePropagationKernel::restoreState(ContextImpl &, Noise drawn) {
    *data.positions = markedPositions;
    *data.velocities = savedVelocities;
    if (drawn == Noise::Restored)
        noise = savedNoise;
}

void ReferencePropagationKernel::reverseVelocities(ContextImpl &) {
    for (Vec3 &velocity : *data.velocities)
        velocity = -velocity;
}

PropagationKernel::Summary ReferencePropagationKernel::finishStep(ContextImpl &context, int first, int second) {
    summary.kineticEnergy = computeKineticEnergy(context);
    summary.isFinite = sumOfComponents(*data.positions) == 0 && sumOfComponents(*data.velocities) == 0;
    if (numMiddles > 0) {
        summary.regionKineticEnergy = middleRegionKineticEnergy / numMiddles;
        summary.restKineticEnergy = (middleKineticEnergy - middleRegionKineticEnergy) / numMiddles;
    }
    if (first >= 0 && second >= 0)
        summary.difference = compareForces(context, first, second);
    return summary;
}

PropagationKernel::Difference ReferencePropagationKernel::compareForces(ContextImpl &, int first, int second) {
    Difference result;
    for (int particle : region) {
        const Vec3 difference = buffers[first][particle] - buffers[second][particle];
        const double square = difference.dot(difference);
        result.sumOfSquares += square;
        result.maxNorm = std::max(result.maxNorm, std::sqrt(square));
    }
    // A sum keeps NaN, a maximum need not.
    if (!std::isfinite(result.sumOfSquares))
        result.sumOfSquares = result.maxNorm = std::numeric_limits<double>::quiet_NaN();
    return result;
}

void ReferencePropagationKernel::storeForces(ContextImpl &, int buffer) {
    buffers[buffer] = *data.forces;
}

void ReferencePropagationKernel::kick(ContextImpl &, const vector<Impulse> &impulses) {
    vector<Vec3> &velocities = *data.velocities;
    for (const Impulse &impulse : impulses) {
        const vector<Vec3> &forces = buffers[impulse.buffer];
        for (size_t i = 0; i < velocities.size(); i++)
            if (inverseMasses[i] != 0)
                velocities[i] += forces[i] * (impulse.weight * inverseMasses[i]);
    }
}

void ReferencePropagationKernel::kickWithForces(ContextImpl &, double weight) {
    vector<Vec3> &velocities = *data.velocities;
    const vector<Vec3> &forces = *data.forces;
    for (size_t i = 0; i < velocities.size(); i++)
        if (inverseMasses[i] != 0)
            velocities[i] += forces[i] * (weight * inverseMasses[i]);
}

void ReferencePropagationKernel::tallyKick(ContextImpl &, const vector<Impulse> &impulses, bool isGiven,
                                           double tolerance) {
    const vector<Vec3> &velocities = *data.velocities;
    sumImpulses(impulses, kicks);
    if (hasConstraints())
        data.constraints->applyToVelocities(*data.positions, kicks, inverseMasses, tolerance);
    const double half = isGiven ? -0.5 : 0.5;
    for (size_t i = 0; i < velocities.size(); i++)
        summary.kickWork += masses[i] * kicks[i].dot(velocities[i] + kicks[i] * half);
}

void ReferencePropagationKernel::sumImpulses(const vector<Impulse> &impulses, vector<Vec3> &sums) const {
    sums.assign(masses.size(), Vec3());
    for (const Impulse &impulse : impulses) {
        const vector<Vec3> &forces = buffers[impulse.buffer];
        for (size_t i = 0; i < sums.size(); i++)
            sums[i] += forces[i] * (impulse.weight * inverseMasses[i]);
    }
}

void ReferencePropagationKernel::constrainVelocities(ContextImpl &, double tolerance) {
    if (hasConstraints())
        data.constraints->applyToVelocities(*data.positions, *data.velocities, inverseMasses, tolerance);
}

void ReferencePropagationKernel::drift(ContextImpl &context, double dt, double tolerance) {
    vector<Vec3> &positions = *data.positions;
    vector<Vec3> &velocities = *data.velocities;
    if (hasConstraints())
        previousPositions = positions;
    for (size_t i = 0; i < positions.size(); i++)
        if (inverseMasses[i] != 0)
            positions[i] += velocities[i] * dt;
    if (hasConstraints()) {
        // The constraint forces act along the bonds before the move, and change the velocities that made it (RATTLE).
        data.constraints->apply(previousPositions, positions, inverseMasses, tolerance);
        const double inverse = 1 / dt;
        for (const int i : constrained)
            velocities[i] = (positions[i] - previousPositions[i]) * inverse;
    }
    data.virtualSites->computePositions(context.getSystem(), positions, data.periodicBoxVectors);
}

void ReferencePropagationKernel::thermostat(ContextImpl &context, double decay, double temperature,
                                            const vector<Impulse> &impulses, double tolerance) {
    constrainVelocities(context, tolerance);
    const double width = std::sqrt(BOLTZ * temperature * (1 - decay * decay));
    const auto nextKick = [&](size_t i) {
        // One after the other: the order in which the arguments of a call are evaluated is not fixed.
        Vec3 kick;
        for (int j = 0; j < 3; j++)
            kick[j] = noise.next() * width * inverseRootMasses[i];
        return kick;
    };
    vector<Vec3> &velocities = *data.velocities;
    const double before = computeKineticEnergy(context);
    double shiftWork = 0;
    if (impulses.empty()) {
        for (size_t i = 0; i < velocities.size(); i++)
            if (inverseMasses[i] != 0)
                velocities[i] = velocities[i] * decay + nextKick(i);
        constrainVelocities(context, tolerance);
    } else {
        kicks.resize(velocities.size());
        for (size_t i = 0; i < velocities.size(); i++)
            if (inverseMasses[i] != 0)
                kicks[i] = nextKick(i);
        // v = decay (v - u) + noise + u; all three obey the constraints, so their sum does.
        sumImpulses(impulses, shifts);
        if (hasConstraints())
            for (vector<Vec3> *array : {&kicks, &shifts})
                data.constraints->applyToVelocities(*data.positions, *array, inverseMasses, tolerance);
        for (size_t i = 0; i < velocities.size(); i++)
            if (inverseMasses[i] != 0) {
                velocities[i] = velocities[i] * decay + kicks[i] + shifts[i] * (1 - decay);
                shiftWork += masses[i] * shifts[i].dot(kicks[i]);
            }
    }
    summary.heat += measureKineticEnergies(context) - before - shiftWork;
}

void ReferencePropagationKernel::measureMiddle(ContextImpl &context) {
    measureKineticEnergies(context);
}

double ReferencePropagationKernel::measureKineticEnergies(ContextImpl &context) {
    const vector<Vec3> &velocities = *data.velocities;
    double regionSum = 0;
    for (int particle : region)
        regionSum += masses[particle] * velocities[particle].dot(velocities[particle]);
    const double kineticEnergy = computeKineticEnergy(context);
    middleKineticEnergy += kineticEnergy;
    middleRegionKineticEnergy += 0.5 * regionSum;
    numMiddles++;
    return kineticEnergy;
}

double ReferencePropagationKernel::computeKineticEnergy(ContextImpl &) {
    const vector<Vec3> &velocities = *data.velocities;
    double sum = 0;
    for (size_t i = 0; i < velocities.size(); i++)
        sum += masses[i] * velocities[i].dot(velocities[i]);
    return 0.5 * sum;
}

vector<Vec3> ReferencePropagationKernel::getForces(int buffer) {
    return buffers[buffer];
}

void ReferencePropagationKernel::setForces(int buffer, const vector<Vec3> &forces) {
    buffers[buffer] = forces;
}

void ReferencePropagationKernel::createCheckpoint(std::ostream &stream) const {
    noise.write(stream);
}

void ReferencePropagationKernel::loadCheckpoint(std::istream &stream) {
    noise.read(stream);
}

} // namespace KStep
