#include "openmmkstep/internal/RegionSites.h"
#include "openmm/OpenMMException.h"
#include "openmmkstep/internal/PeriodicBox.h"
#include <cmath>
#include <limits>
#include <set>
#include <sstream>

using OpenMM::OpenMMException;
using OpenMM::Vec3;
using std::vector;

namespace KStep {

namespace {

/** nm by which a region must be farther from its own image than its own parts are from each other. */
constexpr double IMAGE_MARGIN = 0.05;

} // namespace

RegionSites::RegionSites(const QMRegion &region, const OpenMM::System &system, bool periodic, const std::string &owner)
    : region(region), periodic(periodic), owner(owner), indexInRegion(system.getNumParticles(), -1) {
    const vector<int> &particles = region.getParticles();
    for (size_t i = 0; i < particles.size(); i++)
        indexInRegion[particles[i]] = static_cast<int>(i);
    sites.resize(particles.size() + region.getLinkAtoms().size());
}

void RegionSites::place(const vector<Vec3> &positions, const Vec3 box[3]) {
    const vector<int> &particles = region.getParticles();
    for (size_t i = 0; i < particles.size(); i++) {
        sites[i] = positions[particles[i]];
        if (!isFinite(sites[i]))
            throw OpenMMException(owner + ": the position of QM particle " + std::to_string(particles[i]) +
                                  " is not a finite number");
    }
    if (periodic && particles.size() > 1)
        checkImages(makeWhole(box), box);
    size_t next = particles.size();
    for (const QMRegion::LinkAtom &link : region.getLinkAtoms()) {
        const Vec3 &host = sites[indexInRegion[link.qmParticle]];
        Vec3 bond = positions[link.mmParticle] - host;
        if (periodic)
            bond = minimumImage(bond, box);
        sites[next++] = host + bond * link.ratio;
    }
}

/** Prim's algorithm: the atom nearest to those already placed comes next. Returns the longest edge of the tree. */
double RegionSites::makeWhole(const Vec3 box[3]) {
    const size_t n = region.getParticles().size();
    distances.assign(n, std::numeric_limits<double>::infinity());
    placed.resize(n);
    isDone.assign(n, 0);
    placed[0] = sites[0];
    double longest2 = 0;
    size_t last = 0;
    for (size_t count = 1; count < n; count++) {
        isDone[last] = 1;
        sites[last] = placed[last];
        size_t next = n;
        for (size_t i = 0; i < n; i++) {
            if (isDone[i])
                continue;
            const Vec3 delta = minimumImage(sites[i] - sites[last], box);
            const double distance2 = delta.dot(delta);
            if (distance2 < distances[i]) {
                distances[i] = distance2;
                placed[i] = sites[last] + delta;
            }
            if (next == n || distances[i] < distances[next])
                next = i;
        }
        longest2 = std::max(longest2, distances[next]);
        last = next;
    }
    sites[last] = placed[last];
    return std::sqrt(longest2);
}

void RegionSites::checkImages(double longestEdge, const Vec3 box[3]) const {
    const double reach = longestEdge + IMAGE_MARGIN;
    const size_t n = region.getParticles().size();
    // A slab as thick as the region, in the direction across two faces, bounds its distance from its images.
    bool mayTouch = false;
    for (int face = 0; face < 3 && !mayTouch; face++) {
        const Vec3 normal = faceNormal(box, face);
        double low = sites[0].dot(normal), high = low;
        for (size_t i = 1; i < n; i++) {
            const double along = sites[i].dot(normal);
            low = std::min(low, along);
            high = std::max(high, along);
        }
        mayTouch = std::abs(box[face].dot(normal)) - (high - low) < reach;
    }
    if (!mayTouch)
        return;
    for (int a = -1; a <= 1; a++)
        for (int b = -1; b <= 1; b++)
            for (int c = -1; c <= 1; c++) {
                if (a == 0 && b == 0 && c == 0)
                    continue;
                const Vec3 shift = box[0] * a + box[1] * b + box[2] * c;
                for (size_t i = 0; i < n; i++)
                    for (size_t j = 0; j < i; j++) {
                        const Vec3 delta = sites[i] - sites[j] + shift;
                        if (delta.dot(delta) >= reach * reach)
                            continue;
                        std::ostringstream message;
                        message << owner << ": the QM region reaches around the periodic box: particle "
                                << region.getParticles()[i] << " is " << std::sqrt(delta.dot(delta))
                                << " nm from an image of particle " << region.getParticles()[j]
                                << ", about as near as the region's own parts are to each other (" << longestEdge
                                << " nm), so that it cannot be told which image belongs to it. Use a larger box or a "
                                   "smaller region";
                        throw OpenMMException(message.str());
                    }
            }
}

void RegionSites::addForces(const vector<Vec3> &siteForces, vector<Vec3> &forces) const {
    const vector<int> &particles = region.getParticles();
    for (size_t i = 0; i < particles.size(); i++)
        forces[particles[i]] += siteForces[i];
    size_t next = particles.size();
    for (const QMRegion::LinkAtom &link : region.getLinkAtoms()) {
        const Vec3 &force = siteForces[next++];
        forces[link.qmParticle] += force * (1 - link.ratio);
        forces[link.mmParticle] += force * link.ratio;
    }
}

vector<int> involvedParticles(const QMRegion &region, const EmbeddingCharges &charges) {
    std::set<int> involved(region.getParticles().begin(), region.getParticles().end());
    for (const QMRegion::LinkAtom &link : region.getLinkAtoms())
        involved.insert(link.mmParticle);
    for (int i = 0; i < charges.getNumCharges(); i++) {
        int particle, group;
        double charge;
        charges.getChargeParameters(i, particle, charge, group);
        involved.insert(particle);
    }
    return vector<int>(involved.begin(), involved.end());
}

LastGeometry::LastGeometry(const vector<int> &particles, bool periodic)
    : particles(particles), periodic(periodic), known(particles.size()) {}

bool LastGeometry::matches(const vector<Vec3> &positions, const Vec3 box[3]) const {
    if (!isKnown)
        return false;
    for (size_t i = 0; i < particles.size(); i++)
        if (positions[particles[i]] != known[i])
            return false;
    return !periodic || (box[0] == knownBox[0] && box[1] == knownBox[1] && box[2] == knownBox[2]);
}

void LastGeometry::remember(const vector<Vec3> &positions, const Vec3 box[3]) {
    for (size_t i = 0; i < particles.size(); i++)
        known[i] = positions[particles[i]];
    for (int i = 0; i < 3; i++)
        knownBox[i] = box[i];
    isKnown = true;
}

} // namespace KStep
