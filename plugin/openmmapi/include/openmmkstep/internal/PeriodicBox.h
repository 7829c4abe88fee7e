#ifndef OPENMMKSTEP_PERIODICBOX_H_
#define OPENMMKSTEP_PERIODICBOX_H_

#include "openmm/Vec3.h"
#include <cmath>

namespace KStep {

/** The shortest of the vectors that differ from a given one by box vectors (OpenMM's reduced form). */
inline OpenMM::Vec3 minimumImage(OpenMM::Vec3 delta, const OpenMM::Vec3 box[3]) {
    for (int i = 2; i >= 0; i--) {
        const double width = box[i][i];
        if (std::abs(delta[i]) > 0.5 * width) // seldom, and rounding is slow
            delta -= box[i] * std::round(delta[i] / width);
    }
    return delta;
}

} // namespace KStep

#endif
