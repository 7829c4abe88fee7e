#ifndef OPENMMKSTEP_TESTS_POINTS_H_
#define OPENMMKSTEP_TESTS_POINTS_H_

#include "openmm/System.h"
#include "openmm/Vec3.h"
#include <cmath>
#include <random>
#include <vector>

namespace KStep::tests {

using OpenMM::Vec3;

/** Points in a cube about the origin, the same ones for the same seed. */
inline std::vector<Vec3> randomPoints(int number, double halfWidth, int seed) {
    std::mt19937 generator(seed);
    std::uniform_real_distribution<double> uniform(-halfWidth, halfWidth);
    std::vector<Vec3> points(number);
    for (Vec3 &point : points)
        for (int i = 0; i < 3; i++)
            point[i] = uniform(generator);
    return points;
}

/** A System of particles that weigh one amu. */
inline OpenMM::System makeSystem(int numParticles) {
    OpenMM::System system;
    for (int i = 0; i < numParticles; i++)
        system.addParticle(1);
    return system;
}

inline double distance(const Vec3 &a, const Vec3 &b) {
    const Vec3 delta = a - b;
    return std::sqrt(delta.dot(delta));
}

} // namespace KStep::tests

#endif
