#include "QMFarField.h"
#include "openmm/OpenMMException.h"
#include "openmmkstep/internal/PeriodicBox.h"

using OpenMM::Vec3;
using std::vector;

namespace KStep {

namespace {

vector<double> chargesOf(const vector<RegionCharge> &region) {
    vector<double> charges;
    for (const RegionCharge &each : region)
        charges.push_back(each.charge);
    return charges;
}

/** Particles and charges of an Ewald sum: the region's, then those around it. */
struct AllCharges {
    vector<int> particles;
    vector<double> charges;
    explicit AllCharges(const QMMMForce &force) {
        for (const auto &[particle, charge] : force.getFarFieldRegion()) {
            particles.push_back(particle);
            charges.push_back(charge);
        }
        const EmbeddingCharges &others = force.getFarFieldSurroundings();
        for (int i = 0; i < others.getNumCharges(); i++) {
            int particle, group;
            double charge;
            others.getChargeParameters(i, particle, charge, group);
            particles.push_back(particle);
            charges.push_back(charge);
        }
    }
};

const EmbeddingCharges &checkedSurroundings(const QMMMForce &force) {
    const EmbeddingCharges &charges = force.getFarFieldSurroundings();
    if (!charges.usesPeriodicBoundaryConditions())
        throw OpenMM::OpenMMException(force.getName() + ": a far field is that of a periodic box");
    if (charges.getNumBondCharges() > 0)
        throw OpenMM::OpenMMException(force.getName() + ": the far field is that of the force field's charges, which "
                                                        "has no bond charges");
    return charges;
}

} // namespace

QMFarField::QMFarField(const QMMMForce &force, const OpenMM::System &system)
    : owner(force.getName()),
      seen(checkedSurroundings(force), force.getRegion().getParticles(), system, force.getName()),
      places(force.getRegion(), force.getFarFieldRegion(), force.getFarFieldSurroundings(), system, force.getName()),
      surface(static_cast<int>(force.getRegion().getSiteNumbers().size())),
      regionCharges(chargesOf(force.getFarFieldRegion())), particles(AllCharges(force).particles),
      ewald(static_cast<int>(regionCharges.size()), AllCharges(force).charges) {}

void QMFarField::update(const vector<Vec3> &sites, const vector<Vec3> &positions, const Vec3 box[3]) {
    places.place(sites, positions, box);
    vector<Vec3> charged = places.getPositions();
    for (size_t j = charged.size(); j < particles.size(); j++) {
        charged.push_back(positions[particles[j]]);
        if (!isFinite(charged.back()))
            throw OpenMM::OpenMMException(owner + ": the position of particle " + std::to_string(particles[j]) +
                                          " is not a finite number");
    }
    ewald.update(charged, box);
    seen.update(sites, positions, box);
    surface.place(sites);
    points.positions = surface.getProbes();
    points.anchors.clear();
    for (size_t p = 0; p < surface.getProbes().size(); p++)
        points.anchors.push_back(SurfaceCharges::firstProbeOf(p));
    for (const Vec3 &place : places.getPositions()) {
        points.anchors.push_back(static_cast<int>(points.positions.size()));
        points.positions.push_back(place);
    }
    vector<double> potential = ewald.computePotential(points), near;
    vector<Vec3> gradient;
    seen.computePotential(points.positions, near, gradient);
    for (size_t p = 0; p < potential.size(); p++)
        potential[p] -= near[p];
    energy = 0;
    for (size_t i = 0; i < regionCharges.size(); i++)
        energy -= regionCharges[i] * potential[surface.getProbes().size() + i];
    potential.resize(surface.getProbes().size());
    surface.fit(potential);
}

void QMFarField::addForces(const vector<double> &chargeDerivatives, const vector<Vec3> &positionGradients,
                           vector<Vec3> &siteForces, vector<Vec3> &forces) const {
    vector<double> weights;
    vector<Vec3> bySurface;
    surface.backPropagate(chargeDerivatives, positionGradients, weights, bySurface);
    for (size_t i = 0; i < siteForces.size(); i++)
        siteForces[i] += bySurface[i];
    for (const double charge : regionCharges)
        weights.push_back(-charge);
    vector<Vec3> onPoints(points.positions.size()), onCharges(particles.size());
    ewald.addForces(points, weights, onPoints, onCharges);
    // What the embedding sees is subtracted.
    for (double &weight : weights)
        weight = -weight;
    vector<double> near, potentialAtCharges;
    vector<Vec3> gradient, chargeGradients;
    seen.computePotential(points.positions, near, gradient);
    for (size_t p = 0; p < onPoints.size(); p++)
        onPoints[p] -= gradient[p] * weights[p];
    seen.backPropagatePotential(points.positions, weights, chargeGradients, potentialAtCharges);
    seen.addForces(chargeGradients, potentialAtCharges, forces);
    const size_t numProbes = surface.getProbes().size();
    for (size_t p = 0; p < numProbes; p++)
        siteForces[SurfaceCharges::siteOfProbe(p)] += onPoints[p];
    for (size_t i = 0; i < regionCharges.size(); i++)
        forces[places.getParticle(i)] += onPoints[numProbes + i];
    for (size_t j = 0; j < particles.size(); j++)
        forces[particles[j]] += onCharges[j];
}

} // namespace KStep
