#ifndef OPENMMKSTEP_PERIODICBOX_H_
#define OPENMMKSTEP_PERIODICBOX_H_

#include "openmm/Vec3.h"
#include <cmath>

namespace KStep {

inline double norm(const OpenMM::Vec3 &v) {
    return std::sqrt(v.dot(v));
}

inline bool isFinite(const OpenMM::Vec3 &v) {
    return std::isfinite(v[0]) && std::isfinite(v[1]) && std::isfinite(v[2]);
}

/** The shortest of the vectors that differ from a given one by box vectors (OpenMM's reduced form). */
inline OpenMM::Vec3 minimumImage(OpenMM::Vec3 delta, const OpenMM::Vec3 box[3]) {
    for (int i = 2; i >= 0; i--) {
        const double width = box[i][i];
        if (std::abs(delta[i]) > 0.5 * width) // seldom, and rounding is slow
            delta -= box[i] * std::round(delta[i] / width);
    }
    return delta;
}

/** Unit vector normal to the face that two of the box vectors span, all but the one numbered. */
inline OpenMM::Vec3 faceNormal(const OpenMM::Vec3 box[3], int other) {
    const OpenMM::Vec3 normal = box[(other + 1) % 3].cross(box[(other + 2) % 3]);
    return normal * (1 / norm(normal));
}

} // namespace KStep

#endif
