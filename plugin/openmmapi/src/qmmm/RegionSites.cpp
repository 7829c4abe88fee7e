#include "openmmkstep/internal/RegionSites.h"
#include "openmm/OpenMMException.h"
#include "openmmkstep/internal/PeriodicBox.h"
#include <cmath>
#include <limits>
#include <set>

using OpenMM::OpenMMException;
using OpenMM::Vec3;
using std::vector;

namespace KStep {

namespace {

/** nm; by less than this atoms move from one geometry of a trajectory to the next. */
constexpr double SMALL_MOVE = 0.1;

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
    former.clear();
    if (periodic && particles.size() > 1)
        makeWhole(box);
    placeLinkAtoms(sites, positions, box);
    if (periodic && findFormerImages(box))
        placeLinkAtoms(former, positions, box);
}

void RegionSites::placeLinkAtoms(vector<Vec3> &places, const vector<Vec3> &positions, const Vec3 box[3]) const {
    size_t next = region.getParticles().size();
    for (const QMRegion::LinkAtom &link : region.getLinkAtoms()) {
        const Vec3 &host = places[indexInRegion[link.qmParticle]];
        Vec3 bond = positions[link.mmParticle] - host;
        if (periodic)
            bond = minimumImage(bond, box);
        places[next++] = host + bond * link.ratio;
    }
}

/** Prim's algorithm: the atom nearest to those already placed comes next, beside its nearest neighbour. */
void RegionSites::makeWhole(const Vec3 box[3]) {
    const size_t n = region.getParticles().size();
    distances.assign(n, std::numeric_limits<double>::infinity());
    placed.resize(n);
    isDone.assign(n, 0);
    placed[0] = sites[0];
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
        last = next;
    }
    sites[last] = placed[last];
}

/** Fill the atoms' former places and return true if their images have changed; in any case they are comparable. */
bool RegionSites::findFormerImages(const Vec3 box[3]) {
    if (accepted.empty())
        return false;
    const size_t n = region.getParticles().size();
    bool haveChanged = false;
    former.assign(sites.begin(), sites.end());
    for (size_t i = 1; i < n; i++) {
        // Relative to the first atom, since the whole region may have been moved by box vectors.
        const Vec3 moved = (sites[i] - sites[0]) - (accepted[i] - accepted[0]);
        const Vec3 small = minimumImage(moved, box);
        if (small.dot(small) > SMALL_MOVE * SMALL_MOVE) {
            former.clear(); // another geometry altogether
            return false;
        }
        const Vec3 shift = moved - small;
        former[i] = sites[i] - shift;
        haveChanged = haveChanged || shift.dot(shift) > SMALL_MOVE * SMALL_MOVE;
    }
    if (!haveChanged)
        former.clear();
    return haveChanged;
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
    for (int i = 0; i < charges.getNumBondCharges(); i++) {
        int particle1, particle2, group;
        double weight, charge;
        charges.getBondChargeParameters(i, particle1, particle2, weight, charge, group);
        involved.insert(particle2); // the first one has a charge
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
