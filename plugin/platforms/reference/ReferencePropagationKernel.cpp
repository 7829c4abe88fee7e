#include "ReferencePropagationKernel.h"
#include "openmm/internal/ContextImpl.h"
#include "openmm/internal/OSRngSeed.h"
#include "openmm/reference/ReferenceConstraints.h"
#include "openmm/reference/ReferenceVirtualSites.h"
#include "openmm/reference/SimTKOpenMMRealType.h"
#include <cmath>
#include <istream>
#include <limits>
#include <numbers>
#include <ostream>

using OpenMM::ContextImpl;
using OpenMM::Vec3;

namespace KStep {

namespace {

bool isFinite(const std::vector<Vec3> &vectors) {
    for (const Vec3 &v : vectors)
        if (!std::isfinite(v[0]) || !std::isfinite(v[1]) || !std::isfinite(v[2]))
            return false;
    return true;
}

} // namespace

void ReferencePropagationKernel::initialize(const OpenMM::System &system, int numBuffers, int seed) {
    const int numParticles = system.getNumParticles();
    masses.resize(numParticles);
    inverseMasses.resize(numParticles);
    for (int i = 0; i < numParticles; i++) {
        masses[i] = system.getParticleMass(i);
        inverseMasses[i] = masses[i] == 0 ? 0 : 1 / masses[i];
    }
    hasConstraints = system.getNumConstraints() > 0;
    impulses.assign(numBuffers, std::vector<Vec3>(numParticles));
    noise.generator.seed(static_cast<unsigned int>(seed == 0 ? osrngseed() : seed));
    noise.hasSpare = false;
}

void ReferencePropagationKernel::saveState(ContextImpl &) {
    savedPositions = *data.positions;
    savedVelocities = *data.velocities;
    savedNoise = noise;
}

void ReferencePropagationKernel::restoreState(ContextImpl &) {
    *data.positions = savedPositions;
    *data.velocities = savedVelocities;
    noise = savedNoise;
}

bool ReferencePropagationKernel::stateIsFinite(ContextImpl &) {
    return isFinite(*data.positions) && isFinite(*data.velocities);
}

bool ReferencePropagationKernel::positionsEqual(ContextImpl &, const std::vector<Vec3> &positions) {
    return *data.positions == positions;
}

void ReferencePropagationKernel::clearImpulse(int buffer) {
    std::fill(impulses[buffer].begin(), impulses[buffer].end(), Vec3());
}

void ReferencePropagationKernel::addForces(ContextImpl &, int buffer, double weight) {
    const std::vector<Vec3> &forces = *data.forces;
    std::vector<Vec3> &impulse = impulses[buffer];
    for (size_t i = 0; i < impulse.size(); i++)
        impulse[i] += forces[i] * weight;
}

void ReferencePropagationKernel::constrainVelocities(double tolerance) {
    if (hasConstraints)
        data.constraints->applyToVelocities(*data.positions, *data.velocities, inverseMasses, tolerance);
}

void ReferencePropagationKernel::kick(ContextImpl &, int buffer, double scale, double tolerance) {
    std::vector<Vec3> &velocities = *data.velocities;
    const std::vector<Vec3> &impulse = impulses[buffer];
    for (size_t i = 0; i < velocities.size(); i++)
        if (inverseMasses[i] != 0)
            velocities[i] += impulse[i] * (scale * inverseMasses[i]);
    constrainVelocities(tolerance);
}

void ReferencePropagationKernel::drift(ContextImpl &context, double dt, double tolerance) {
    std::vector<Vec3> &positions = *data.positions;
    std::vector<Vec3> &velocities = *data.velocities;
    if (hasConstraints)
        previousPositions = positions;
    for (size_t i = 0; i < positions.size(); i++)
        if (inverseMasses[i] != 0)
            positions[i] += velocities[i] * dt;
    if (hasConstraints) {
        // The constraint forces act along the bonds before the move, and change the velocities that made it (RATTLE).
        unconstrainedPositions = positions;
        data.constraints->apply(previousPositions, positions, inverseMasses, tolerance);
        for (size_t i = 0; i < positions.size(); i++)
            if (inverseMasses[i] != 0)
                velocities[i] += (positions[i] - unconstrainedPositions[i]) * (1 / dt);
        constrainVelocities(tolerance);
    }
    data.virtualSites->computePositions(context.getSystem(), positions, data.periodicBoxVectors);
}

double ReferencePropagationKernel::nextGaussian() {
    if (noise.hasSpare) {
        noise.hasSpare = false;
        return noise.spare;
    }
    // 53 random bits each; u is in (0, 1] so that its logarithm is finite.
    const double u = (static_cast<double>(noise.generator() >> 11) + 1) * 0x1p-53;
    const double angle = 2 * std::numbers::pi * static_cast<double>(noise.generator() >> 11) * 0x1p-53;
    const double radius = std::sqrt(-2 * std::log(u));
    noise.spare = radius * std::sin(angle);
    noise.hasSpare = true;
    return radius * std::cos(angle);
}

double ReferencePropagationKernel::thermostat(ContextImpl &context, double decay, double temperature,
                                              double tolerance) {
    const double before = computeKineticEnergy(context);
    const double kT = BOLTZ * temperature;
    std::vector<Vec3> &velocities = *data.velocities;
    for (size_t i = 0; i < velocities.size(); i++) {
        if (inverseMasses[i] == 0)
            continue;
        const double width = std::sqrt(kT * (1 - decay * decay) * inverseMasses[i]);
        // One after the other: the order in which the arguments of a call are evaluated is not fixed.
        Vec3 random;
        for (int j = 0; j < 3; j++)
            random[j] = nextGaussian();
        velocities[i] = velocities[i] * decay + random * width;
    }
    constrainVelocities(tolerance);
    return computeKineticEnergy(context) - before;
}

double ReferencePropagationKernel::computeKineticEnergy(ContextImpl &) {
    const std::vector<Vec3> &velocities = *data.velocities;
    double sum = 0;
    for (size_t i = 0; i < velocities.size(); i++)
        sum += masses[i] * velocities[i].dot(velocities[i]);
    return 0.5 * sum;
}

PropagationKernel::Norm ReferencePropagationKernel::measure(int buffer, const std::vector<int> &particles) {
    Norm result = {0, 0};
    for (int particle : particles) {
        const Vec3 &v = impulses[buffer][particle];
        const double square = v.dot(v);
        if (!std::isfinite(square)) {
            const double nan = std::numeric_limits<double>::quiet_NaN();
            return {nan, nan};
        }
        result.sumOfSquares += square;
        result.maxNorm = std::max(result.maxNorm, std::sqrt(square));
    }
    return result;
}

std::vector<Vec3> ReferencePropagationKernel::getImpulse(int buffer) {
    return impulses[buffer];
}

void ReferencePropagationKernel::setImpulse(int buffer, const std::vector<Vec3> &impulse) {
    impulses[buffer] = impulse;
}

void ReferencePropagationKernel::createCheckpoint(std::ostream &stream) const {
    stream << noise.generator << ' ' << noise.hasSpare << ' ';
    stream.write(reinterpret_cast<const char *>(&noise.spare), sizeof(double));
}

void ReferencePropagationKernel::loadCheckpoint(std::istream &stream) {
    stream >> noise.generator >> noise.hasSpare;
    stream.get();
    stream.read(reinterpret_cast<char *>(&noise.spare), sizeof(double));
}

} // namespace KStep
