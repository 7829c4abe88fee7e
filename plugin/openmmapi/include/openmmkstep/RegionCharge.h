#ifndef OPENMMKSTEP_REGIONCHARGE_H_
#define OPENMMKSTEP_REGIONCHARGE_H_

namespace KStep {

/** A charge that a force field gives to a QM region, e: on an atom, or on a virtual site that its atoms define. */
struct RegionCharge {
    int particle;
    double charge;
    bool operator==(const RegionCharge &other) const = default;
};

} // namespace KStep

#endif
