#include "openmmkstep/EmbeddingCharges.h"
#include "openmm/OpenMMException.h"
#include <cmath>
#include <string>

namespace KStep {

int EmbeddingCharges::addCharge(int particle, double charge, int group) {
    charges.push_back({particle, charge, group});
    return getNumCharges() - 1;
}

const EmbeddingCharges::Charge &EmbeddingCharges::at(int index) const {
    if (index < 0 || index >= getNumCharges())
        throw OpenMM::OpenMMException("EmbeddingCharges: there is no charge " + std::to_string(index) + ", only " +
                                      std::to_string(getNumCharges()) + " charges");
    return charges[index];
}

void EmbeddingCharges::getChargeParameters(int index, int &particle, double &charge, int &group) const {
    const Charge &found = at(index);
    particle = found.particle;
    charge = found.charge;
    group = found.group;
}

void EmbeddingCharges::setChargeParameters(int index, int particle, double charge, int group) {
    at(index);
    charges[index] = {particle, charge, group};
}

int EmbeddingCharges::addBondCharge(int particle1, int particle2, double weight, double charge, int group) {
    bondCharges.push_back({particle1, particle2, weight, charge, group});
    return getNumBondCharges() - 1;
}

void EmbeddingCharges::getBondChargeParameters(int index, int &particle1, int &particle2, double &weight,
                                               double &charge, int &group) const {
    if (index < 0 || index >= getNumBondCharges())
        throw OpenMM::OpenMMException("EmbeddingCharges: there is no bond charge " + std::to_string(index) + ", only " +
                                      std::to_string(getNumBondCharges()) + " bond charges");
    const BondCharge &found = bondCharges[index];
    particle1 = found.particle1;
    particle2 = found.particle2;
    weight = found.weight;
    charge = found.charge;
    group = found.group;
}

void EmbeddingCharges::setCutoffDistance(double distance) {
    if (!std::isfinite(distance) || distance < 0)
        throw OpenMM::OpenMMException("EmbeddingCharges: the cut-off must be positive, or 0 for none");
    cutoff = distance;
}

void EmbeddingCharges::setSwitchingDistance(double distance) {
    if (!std::isfinite(distance) || distance < 0)
        throw OpenMM::OpenMMException("EmbeddingCharges: the switching distance must not be negative");
    switchingDistance = distance;
}

} // namespace KStep
