#ifndef OPENMMKSTEP_PERIODICBOX_H_
#define OPENMMKSTEP_PERIODICBOX_H_

#include "openmm/Vec3.h"
#include <cmath>

namespace KStep {

/** The shortest of the vectors that differ from a given one by box vectors (OpenMM's reduced form). */
inline OpenMM::Vec3 minimumImage(OpenMM::Vec3 delta, const OpenMM::Vec3 box[3]) {
    delta -= box[2] * std::round(delta[2] / box[2][2]);
    delta -= box[1] * std::round(delta[1] / box[1][1]);
    delta -= box[0] * std::round(delta[0] / box[0][0]);
    return delta;
}

} // namespace KStep

#endif
