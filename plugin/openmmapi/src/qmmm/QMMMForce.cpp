#include "openmmkstep/QMMMForce.h"
#include "openmm/OpenMMException.h"
#include "openmmkstep/internal/QMMMForceImpl.h"

namespace KStep {

QMMMForce::QMMMForce(const QMRegion &region, const std::string &engine, const std::string &settings,
                     const EmbeddingCharges &charges)
    : region(region), engine(engine), settings(settings.empty() ? "{}" : settings), charges(charges) {
    setName("QMMMForce");
}

void QMMMForce::setFarField(const EmbeddingCharges &surroundings, const std::vector<RegionCharge> &regionCharges) {
    if (surroundings.getNumCharges() == 0)
        throw OpenMM::OpenMMException(getName() + ": there are no charges around the region to make a far field");
    farFieldSurroundings = surroundings;
    farFieldRegion = regionCharges;
}

OpenMM::ForceImpl *QMMMForce::createImpl() const {
    return new QMMMForceImpl(*this);
}

const QMMMResult &QMMMForce::getLastResult(OpenMM::Context &context) const {
    return dynamic_cast<QMMMForceImpl &>(getImplInContext(context)).getLastResult();
}

QMMMQuestion QMMMForce::getLastQuestion(OpenMM::Context &context) const {
    return dynamic_cast<QMMMForceImpl &>(getImplInContext(context)).getLastQuestion();
}

long long QMMMForce::getNumCalls(OpenMM::Context &context) const {
    return dynamic_cast<QMMMForceImpl &>(getImplInContext(context)).getNumCalls();
}

double QMMMForce::getTime(OpenMM::Context &context) const {
    return dynamic_cast<QMMMForceImpl &>(getImplInContext(context)).getTime();
}

void QMMMForce::reset(OpenMM::Context &context) const {
    dynamic_cast<QMMMForceImpl &>(getImplInContext(context)).forget();
}

} // namespace KStep
