#ifndef OPENMMKSTEP_ODDROTATION_H_
#define OPENMMKSTEP_ODDROTATION_H_

#include "openmm/Vec3.h"
#include <vector>

namespace KStep {

/** One of a fixed series of rotations by angles that no molecule is built with. */
class OddRotation {
public:
    /** The first of the series. */
    OddRotation() : OddRotation(0) {}
    /** The first one after which no two of the positions (nm) share a coordinate; the last if none does that. */
    static OddRotation find(const std::vector<OpenMM::Vec3> &positions);
    /** Whether no two of the positions (nm) share a coordinate after the rotation. */
    bool separates(const std::vector<OpenMM::Vec3> &positions) const;
    OpenMM::Vec3 apply(const OpenMM::Vec3 &v) const;
    OpenMM::Vec3 undo(const OpenMM::Vec3 &v) const;

private:
    explicit OddRotation(int index);
    OpenMM::Vec3 rows[3];
};

} // namespace KStep

#endif
