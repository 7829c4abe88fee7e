#include "openmmkstep/FarFieldForce.h"
#include "FarFieldForceImpl.h"
#include "openmm/OpenMMException.h"
#include <string>

namespace KStep {

FarFieldForce::FarFieldForce(const QMRegion &region, const EmbeddingCharges &charges)
    : region(region), embeddingCharges(charges) {
    setName("FarFieldForce");
}

int FarFieldForce::addRegionCharge(int particle, double charge) {
    regionCharges.push_back({particle, charge});
    return getNumRegionCharges() - 1;
}

void FarFieldForce::getRegionChargeParameters(int index, int &particle, double &charge) const {
    if (index < 0 || index >= getNumRegionCharges())
        throw OpenMM::OpenMMException("FarFieldForce: there is no charge " + std::to_string(index) + ", only " +
                                      std::to_string(getNumRegionCharges()) + " charges of the region");
    particle = regionCharges[index].particle;
    charge = regionCharges[index].charge;
}

OpenMM::ForceImpl *FarFieldForce::createImpl() const {
    return new FarFieldForceImpl(*this);
}

} // namespace KStep
