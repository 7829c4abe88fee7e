#include "OddRotation.h"
#include <cmath>

using OpenMM::Vec3;
using std::vector;

namespace KStep {

namespace {

/** Far above round-off and libxtb's own threshold, far below what matters: nm. */
constexpr double SAME_COORDINATE = 1e-9;
constexpr int NUM_ROTATIONS = 8;

} // namespace

OddRotation::OddRotation(int index) {
    // Three successive turns, by angles that are irrational multiples of each other and of pi.
    const double a = 0.6 + 0.31 * index, b = std::sqrt(0.5 + index), c = std::log(2.7 + 1.3 * index);
    const double sa = std::sin(a), ca = std::cos(a), sb = std::sin(b), cb = std::cos(b), sc = std::sin(c),
                 cc = std::cos(c);
    rows[0] = Vec3(ca * cb, ca * sb * sc - sa * cc, ca * sb * cc + sa * sc);
    rows[1] = Vec3(sa * cb, sa * sb * sc + ca * cc, sa * sb * cc - ca * sc);
    rows[2] = Vec3(-sb, cb * sc, cb * cc);
}

OddRotation OddRotation::find(const vector<Vec3> &positions) {
    for (int index = 0; index < NUM_ROTATIONS - 1; index++) {
        const OddRotation rotation(index);
        if (rotation.separates(positions))
            return rotation;
    }
    return OddRotation(NUM_ROTATIONS - 1);
}

bool OddRotation::separates(const vector<Vec3> &positions) const {
    for (const Vec3 &row : rows)
        for (size_t i = 0; i < positions.size(); i++)
            for (size_t j = 0; j < i; j++)
                if (std::abs(row.dot(positions[i] - positions[j])) < SAME_COORDINATE)
                    return false;
    return true;
}

Vec3 OddRotation::apply(const Vec3 &v) const {
    return Vec3(rows[0].dot(v), rows[1].dot(v), rows[2].dot(v));
}

Vec3 OddRotation::undo(const Vec3 &v) const {
    return rows[0] * v[0] + rows[1] * v[1] + rows[2] * v[2];
}

} // namespace KStep
