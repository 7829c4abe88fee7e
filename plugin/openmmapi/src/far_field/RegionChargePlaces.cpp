#include "RegionChargePlaces.h"
#include "openmm/OpenMMException.h"
#include "openmm/VirtualSite.h"
#include "openmmkstep/internal/PeriodicBox.h"
#include <algorithm>
#include <cmath>
#include <set>

using OpenMM::OpenMMException;
using OpenMM::Vec3;
using std::vector;

namespace KStep {

RegionChargePlaces::RegionChargePlaces(const QMRegion &region, const vector<RegionCharge> &charges,
                                       const EmbeddingCharges &embedding, const OpenMM::System &system,
                                       const std::string &owner)
    : atoms(region.getParticles()), periodic(embedding.usesPeriodicBoundaryConditions()), places(charges.size()) {
    std::set<int> seen;
    for (const auto &[particle, charge] : charges) {
        const std::string name = owner + ": particle " + std::to_string(particle);
        if (!std::isfinite(charge))
            throw OpenMMException(owner + ": the charge of particle " + std::to_string(particle) +
                                  " is not a finite number");
        if (!seen.insert(particle).second)
            throw OpenMMException(name + " has two charges; add each particle once");
        const int atom = findHost(particle, system);
        if (atom < 0)
            throw OpenMMException(name + " is neither an atom of the region nor a virtual site that its atoms define, "
                                         "so it has no charge of the region");
        hosts.push_back({particle, atom, atoms[atom] == particle});
    }
    for (int i = 0; i < embedding.getNumCharges(); i++) {
        int particle, group;
        double charge;
        embedding.getChargeParameters(i, particle, charge, group);
        if (seen.count(particle))
            throw OpenMMException(owner + ": particle " + std::to_string(particle) +
                                  " has a charge of the region and an embedding charge; it can only be one of them");
    }
}

/** Which atom of the region a particle is, or is defined by first; -1 if anything else defines it. */
int RegionChargePlaces::findHost(int particle, const OpenMM::System &system) const {
    const auto found = std::find(atoms.begin(), atoms.end(), particle);
    if (found != atoms.end())
        return static_cast<int>(found - atoms.begin());
    if (particle < 0 || particle >= system.getNumParticles() || !system.isVirtualSite(particle))
        return -1;
    // Sites may be defined by sites; the System has refused those that define themselves.
    const OpenMM::VirtualSite &site = system.getVirtualSite(particle);
    int host = -1;
    for (int i = site.getNumParticles() - 1; i >= 0; i--) {
        host = findHost(site.getParticle(i), system);
        if (host < 0)
            return -1;
    }
    return host;
}

void RegionChargePlaces::place(const vector<Vec3> &sites, const vector<Vec3> &positions, const Vec3 box[3]) {
    for (size_t i = 0; i < hosts.size(); i++) {
        const Vec3 &atom = sites[hosts[i].atom];
        places[i] = atom;
        if (!hosts[i].isAtom) {
            const Vec3 delta = positions[hosts[i].particle] - atom;
            places[i] += periodic ? minimumImage(delta, box) : delta;
        }
    }
}

} // namespace KStep
