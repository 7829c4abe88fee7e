#include "openmmkstep/internal/EmbeddingField.h"
#include "CoulombKernels.h"
#include "openmm/OpenMMException.h"
#include "openmmkstep/internal/PeriodicBox.h"
#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <sstream>

using OpenMM::OpenMMException;
using OpenMM::Vec3;
using std::vector;

namespace KStep {

// e^2 N_A / (4 pi epsilon_0) from e, N_A (exact) and epsilon_0 of CODATA 2018, as in OpenMM.
const double COULOMB_CONSTANT = 138.93545764438198;

namespace {

/** The quintic that goes from 1 to 0 and its derivative. */
void evaluateSwitch(double distance, double begin, double end, double &value, double &slope) {
    if (distance <= begin) {
        value = 1;
        slope = 0;
    } else if (distance >= end) {
        value = 0;
        slope = 0;
    } else {
        const double t = (distance - begin) / (end - begin);
        value = 1 + t * t * t * (-10 + t * (15 - 6 * t));
        slope = -30 * t * t * (1 - t) * (1 - t) / (end - begin);
    }
}

} // namespace

EmbeddingField::EmbeddingField(const EmbeddingCharges &embedding, const vector<int> &regionParticles,
                               const OpenMM::System &system, const std::string &owner)
    : owner(owner), cutoff(embedding.getCutoffDistance()), switchingDistance(embedding.getSwitchingDistance()),
      periodic(embedding.usesPeriodicBoundaryConditions()), regionParticles(regionParticles) {
    validateCharges(embedding, system);
    addGroups(embedding, system);
    region.resize(regionParticles.size());
    if (periodic) {
        Vec3 box[3];
        system.getDefaultPeriodicBoxVectors(box[0], box[1], box[2]);
        validateBox(box, "default box");
    }
}

void EmbeddingField::addGroups(const EmbeddingCharges &embedding, const OpenMM::System &system) {
    std::map<int, vector<std::pair<int, double>>> members;
    for (int i = 0; i < embedding.getNumCharges(); i++) {
        int particle, group;
        double charge;
        embedding.getChargeParameters(i, particle, charge, group);
        members[group].push_back({particle, charge});
    }
    std::map<int, vector<int>> bondsOfGroup;
    for (int i = 0; i < embedding.getNumBondCharges(); i++) {
        int particle1, particle2, group;
        double weight, charge;
        embedding.getBondChargeParameters(i, particle1, particle2, weight, charge, group);
        bondsOfGroup[group].push_back(i);
    }
    vector<int> place(system.getNumParticles(), -1);
    for (const auto &[id, list] : members) {
        Group group = {static_cast<int>(particles.size()), 0, static_cast<int>(bondCharges.size()), 0};
        for (const auto &[particle, charge] : list) {
            place[particle] = static_cast<int>(particles.size());
            particles.push_back(particle);
            charges.push_back(charge);
        }
        for (const int bond : bondsOfGroup[id]) {
            int particle1, particle2, number;
            double weight, charge;
            embedding.getBondChargeParameters(bond, particle1, particle2, weight, charge, number);
            bondCharges.push_back({place[particle1], particle2, weight, charge});
        }
        group.end = static_cast<int>(particles.size());
        group.endBondCharge = static_cast<int>(bondCharges.size());
        groups.push_back(group);
    }
    whole.resize(particles.size());
    wholeBondCharges.resize(bondCharges.size());
}

void EmbeddingField::validateCharges(const EmbeddingCharges &embedding, const OpenMM::System &system) const {
    const auto fail = [&](int particle, const std::string &what) {
        throw OpenMMException(owner + ": embedding charge on particle " + std::to_string(particle) + ": " + what);
    };
    const std::set<int> inRegion(regionParticles.begin(), regionParticles.end());
    std::map<int, int> groupOf;
    for (int i = 0; i < embedding.getNumCharges(); i++) {
        int particle, group;
        double charge;
        embedding.getChargeParameters(i, particle, charge, group);
        if (particle < 0 || particle >= system.getNumParticles())
            fail(particle, "the System has only " + std::to_string(system.getNumParticles()) + " particles");
        if (inRegion.count(particle))
            fail(particle, "the particle belongs to the QM region, which would then feel its own charge");
        if (!groupOf.emplace(particle, group).second)
            fail(particle, "the particle has two embedding charges; add each particle once");
        if (!std::isfinite(charge))
            fail(particle, "the charge is not a finite number");
        if (group < 0)
            fail(particle, "the group is negative; number the groups from 0");
    }
    for (int i = 0; i < embedding.getNumBondCharges(); i++) {
        int particle1, particle2, group;
        double weight, charge;
        embedding.getBondChargeParameters(i, particle1, particle2, weight, charge, group);
        const auto found = groupOf.find(particle1);
        if (found == groupOf.end() || found->second != group)
            fail(particle1, "a bond charge starts here, and the particle has no embedding charge of the same group; "
                            "give it one, which may be 0");
        if (particle2 < 0 || particle2 >= system.getNumParticles() || particle2 == particle1)
            fail(particle1, "a bond charge cannot lie on the line to particle " + std::to_string(particle2));
        if (inRegion.count(particle2))
            fail(particle1,
                 "a bond charge lies on the line to particle " + std::to_string(particle2) + " of the QM region");
        if (!std::isfinite(weight) || !std::isfinite(charge))
            fail(particle1, "the weight or the charge of a bond charge is not a finite number");
    }
    if (cutoff == 0 && switchingDistance > 0)
        throw OpenMMException(owner + ": a switching distance for the embedding charges needs a cut-off");
    if (cutoff > 0 && switchingDistance >= cutoff)
        throw OpenMMException(owner + ": the switching distance of the embedding charges (" +
                              std::to_string(switchingDistance) + " nm) must be below their cut-off (" +
                              std::to_string(cutoff) + " nm), or energy is not conserved");
    if (periodic && cutoff == 0 && embedding.getNumCharges() > 0)
        throw OpenMMException(owner + ": embedding charges in a periodic box need a cut-off; without one the energy "
                                      "jumps whenever a charge changes its nearest image");
}

void EmbeddingField::validateBox(const Vec3 box[3], const char *which) const {
    const double shortest = std::min({box[0][0], box[1][1], box[2][2]});
    if (!(shortest >= 2 * cutoff)) {
        std::ostringstream message;
        message << owner << ": the " << which << " is only " << shortest
                << " nm wide, less than twice the cut-off of the embedding charges (" << cutoff
                << " nm). Use a larger box or a shorter cut-off";
        throw OpenMMException(message.str());
    }
}

template <class Visitor>
void EmbeddingField::visitImages(const Sphere &sphere, double distance, const Vec3 box[3], Visitor visit) const {
    if (!periodic) {
        visit(Vec3());
        return;
    }
    // In fractional coordinates, the distance of an image from the region's centre is at least the component along
    // each box vector times the width of the box in that direction.
    const Vec3 delta = sphere.center - regionCenter;
    double fraction[3];
    fraction[2] = delta[2] / box[2][2];
    fraction[1] = (delta[1] - fraction[2] * box[2][1]) / box[1][1];
    fraction[0] = (delta[0] - fraction[1] * box[1][0] - fraction[2] * box[2][0]) / box[0][0];
    const double reach = distance + regionRadius + sphere.radius;
    int low[3], high[3];
    for (int i = 0; i < 3; i++) {
        low[i] = static_cast<int>(std::ceil(-reach / widths[i] - fraction[i]));
        high[i] = static_cast<int>(std::floor(reach / widths[i] - fraction[i]));
    }
    for (int i = low[0]; i <= high[0]; i++)
        for (int j = low[1]; j <= high[1]; j++)
            for (int k = low[2]; k <= high[2]; k++)
                visit(box[0] * i + box[1] * j + box[2] * k);
}

void EmbeddingField::update(const vector<Vec3> &sites, const vector<Vec3> &positions, const Vec3 box[3]) {
    if (periodic) {
        validateBox(box, "periodic box");
        for (int i = 0; i < 3; i++)
            widths[i] = std::abs(box[i].dot(faceNormal(box, i)));
    }
    placeRegion(sites);
    for (auto *array : {&selectedCharge, &selectedBareCharge, &selectedFactor, &x, &y, &z})
        array->clear();
    selectedParticle.clear();
    selectedBondCharge.clear();
    selectedPosition.clear();
    switchedImages.clear();
    switchTerms.clear();
    if (cutoff == 0) {
        for (const Group &group : groups) {
            requireFinite(group, makeGroupWhole(group, positions, box));
            append(group, Vec3(), 1.0);
        }
        return;
    }
    findNearGroups(positions, box);
    for (const int index : nearGroups.getGroups()) {
        const Group &group = groups[index];
        const Sphere sphere = makeGroupWhole(group, positions, box);
        requireFinite(group, sphere);
        visitImages(sphere, cutoff, box, [&](const Vec3 &shift) { selectImage(group, sphere, shift); });
    }
}

void EmbeddingField::requireFinite(const Group &group, const Sphere &sphere) const {
    if (!isFinite(sphere.center))
        throw OpenMMException(owner + ": the position of particle " + std::to_string(particles[group.first]) +
                              " or of another embedding charge of its group is not a finite number");
}

void EmbeddingField::findNearGroups(const vector<Vec3> &positions, const Vec3 box[3]) {
    const auto placeOf = [&](size_t i) { return positions[particles[i]]; };
    const NearGroups::Box vectors = periodic ? NearGroups::Box{box[0], box[1], box[2]} : NearGroups::Box{};
    if (nearGroups.holdFor(region, placeOf, vectors))
        return;
    nearGroups.start(region, placeOf, particles.size(), vectors);
    for (size_t index = 0; index < groups.size(); index++) {
        const Sphere sphere = makeGroupWhole(groups[index], positions, box);
        requireFinite(groups[index], sphere);
        if (mayComeNear(groups[index], sphere, box))
            nearGroups.add(static_cast<int>(index));
    }
    nearGroups.finish();
}

bool EmbeddingField::mayComeNear(const Group &group, const Sphere &sphere, const Vec3 box[3]) const {
    if (periodic) {
        // Charges that a small move brings beside other images of each other: where they are then cannot be foretold.
        const double halfBox = 0.5 * std::min({box[0][0], box[1][1], box[2][2]});
        for (int i = group.first + 1; i < group.end; i++)
            if (norm(whole[i] - whole[i - 1]) + NearGroups::SKIN >= halfBox)
                return true;
    }
    const double reach = cutoff + NearGroups::SKIN + sphere.radius;
    bool isNear = false;
    visitImages(sphere, cutoff + NearGroups::SKIN, box, [&](const Vec3 &shift) {
        for (size_t i = 0; i < region.size() && !isNear; i++) {
            const Vec3 delta = sphere.center + shift - region[i];
            isNear = delta.dot(delta) <= reach * reach;
        }
    });
    return isNear;
}

void EmbeddingField::placeRegion(const vector<Vec3> &sites) {
    const size_t n = regionParticles.size();
    region.assign(sites.begin(), sites.begin() + static_cast<std::ptrdiff_t>(n));
    regionCenter = std::accumulate(region.begin(), region.end(), Vec3()) * (1.0 / std::max<size_t>(n, 1));
    regionRadius = 0;
    for (const Vec3 &atom : region)
        regionRadius = std::max(regionRadius, norm(atom - regionCenter));
}

EmbeddingField::Sphere EmbeddingField::makeGroupWhole(const Group &group, const vector<Vec3> &positions,
                                                      const Vec3 box[3]) {
    Sphere sphere = {Vec3(), 0};
    for (int i = group.first; i < group.end; i++) {
        const Vec3 &position = positions[particles[i]];
        if (periodic && i > group.first)
            whole[i] = whole[i - 1] + minimumImage(position - whole[i - 1], box);
        else
            whole[i] = position;
        sphere.center += whole[i];
    }
    sphere.center *= 1.0 / (group.end - group.first);
    double radius2 = 0;
    for (int i = group.first; i < group.end; i++) {
        const Vec3 delta = whole[i] - sphere.center;
        radius2 = std::max(radius2, delta.dot(delta));
    }
    sphere.radius = std::sqrt(radius2);
    for (int i = group.firstBondCharge; i < group.endBondCharge; i++) {
        const BondCharge &bond = bondCharges[i];
        const Vec3 &anchor = whole[bond.anchor];
        const Vec3 delta = positions[bond.other] - anchor;
        wholeBondCharges[i] = anchor + (periodic ? minimumImage(delta, box) : delta) * bond.weight;
        if (!isFinite(wholeBondCharges[i]))
            sphere.center = wholeBondCharges[i]; // what update() complains of
    }
    return sphere;
}

void EmbeddingField::selectImage(const Group &group, const Sphere &sphere, const Vec3 &shift) {
    const Vec3 centroid = sphere.center + shift;
    const Vec3 delta = centroid - regionCenter;
    const double reach = cutoff + regionRadius + sphere.radius;
    if (delta.dot(delta) >= reach * reach)
        return;
    const int firstTerm = static_cast<int>(switchTerms.size());
    const double factor = switchingFactor(group, centroid, shift);
    if (factor == 0)
        return;
    if (factor < 1) {
        const int first = getNumSelected();
        const int endParticles = first + group.end - group.first;
        switchedImages.push_back({first, endParticles, endParticles + group.endBondCharge - group.firstBondCharge,
                                  firstTerm, static_cast<int>(switchTerms.size())});
    }
    append(group, shift, factor);
}

void EmbeddingField::append(const Group &group, const Vec3 &shift, double factor) {
    for (int i = group.first; i < group.end; i++)
        append(particles[i], -1, charges[i], factor, whole[i] + shift);
    for (int i = group.firstBondCharge; i < group.endBondCharge; i++)
        append(particles[bondCharges[i].anchor], i, bondCharges[i].charge, factor, wholeBondCharges[i] + shift);
}

void EmbeddingField::append(int particle, int bondCharge, double charge, double factor, const Vec3 &position) {
    selectedParticle.push_back(particle);
    selectedBondCharge.push_back(bondCharge);
    selectedBareCharge.push_back(charge);
    selectedCharge.push_back(charge * factor);
    selectedFactor.push_back(factor);
    selectedPosition.push_back(position);
    x.push_back(position[0]);
    y.push_back(position[1]);
    z.push_back(position[2]);
}

double EmbeddingField::switchingFactor(const Group &group, const Vec3 &centroid, const Vec3 &shift) {
    const size_t firstTerm = switchTerms.size();
    const double cutoff2 = cutoff * cutoff;
    double unseen = 1;
    for (int j = group.first; j < (group.isCompact() ? group.first + 1 : group.end); j++) {
        const Vec3 place = group.isCompact() ? centroid : whole[j] + shift;
        for (size_t i = 0; i < region.size(); i++) {
            const Vec3 delta = region[i] - place;
            const double distance2 = delta.dot(delta);
            if (distance2 >= cutoff2)
                continue;
            const double distance = std::sqrt(distance2);
            double value, slope;
            evaluateSwitch(distance, switchingDistance, cutoff, value, slope);
            unseen *= 1 - value;
            if (unseen == 0) {
                switchTerms.resize(firstTerm);
                return 1;
            }
            switchTerms.push_back(
                {static_cast<int>(i), group.isCompact() ? -1 : particles[j], 1 - value, delta * (slope / distance)});
        }
    }
    // ds/dx_i = S'(d_ij) (x_i - x_j) / d_ij prod_(others) (1 - S(d_kl)); none of the factors vanishes here.
    for (size_t i = firstTerm; i < switchTerms.size(); i++)
        switchTerms[i].gradient *= unseen / switchTerms[i].remaining;
    return 1 - unseen;
}

void EmbeddingField::addSwitchingForces(const SwitchedImage &image, double slope, vector<Vec3> &forces) const {
    Vec3 onCentroid;
    for (int i = image.firstTerm; i < image.endTerm; i++) {
        const SwitchTerm &term = switchTerms[i];
        const Vec3 gradient = term.gradient * slope;
        forces[regionParticles[term.atom]] -= gradient;
        (term.particle < 0 ? onCentroid : forces[term.particle]) += gradient;
    }
    const Vec3 share = onCentroid * (1.0 / (image.endParticles - image.first));
    for (int j = image.first; j < image.endParticles; j++)
        forces[selectedParticle[j]] += share;
}

void EmbeddingField::computePotential(const vector<Vec3> &sites, vector<double> &potential,
                                      vector<Vec3> &gradient) const {
    potential.resize(sites.size());
    gradient.resize(sites.size());
    const ChargeArrays charges{getNumSelected(), x.data(), y.data(), z.data(), selectedCharge.data()};
    for (size_t i = 0; i < sites.size(); i++) {
        const double site[3] = {sites[i][0], sites[i][1], sites[i][2]};
        double sum, slope[3];
        sumPotential(charges, site, sum, slope);
        potential[i] = COULOMB_CONSTANT * sum;
        gradient[i] = Vec3(slope[0], slope[1], slope[2]) * COULOMB_CONSTANT;
    }
}

void EmbeddingField::backPropagatePotential(const vector<Vec3> &sites, const vector<double> &weights,
                                            vector<Vec3> &chargeGradients, vector<double> &potentialAtCharges) const {
    const int n = getNumSelected();
    const ChargeArrays charges{n, x.data(), y.data(), z.data(), selectedCharge.data()};
    potentialAtCharges.assign(n, 0.0);
    gradientBuffer.assign(3 * static_cast<size_t>(n), 0.0);
    double *const gx = gradientBuffer.data(), *const gy = gx + n, *const gz = gy + n;
    for (size_t i = 0; i < sites.size(); i++) {
        const double site[3] = {sites[i][0], sites[i][1], sites[i][2]};
        addSitePotential(charges, site, COULOMB_CONSTANT * weights[i], potentialAtCharges.data(), gx, gy, gz);
    }
    chargeGradients.resize(n);
    for (int j = 0; j < n; j++)
        chargeGradients[j] = Vec3(gx[j], gy[j], gz[j]) * selectedCharge[j];
}

void EmbeddingField::addForces(const vector<Vec3> &chargeGradients, const vector<double> &potentialAtCharges,
                               vector<Vec3> &forces) const {
    for (int j = 0; j < getNumSelected(); j++) {
        if (selectedBondCharge[j] < 0) {
            forces[selectedParticle[j]] -= chargeGradients[j];
            continue;
        }
        const BondCharge &bond = bondCharges[selectedBondCharge[j]];
        forces[selectedParticle[j]] -= chargeGradients[j] * (1 - bond.weight);
        forces[bond.other] -= chargeGradients[j] * bond.weight;
    }
    for (const SwitchedImage &image : switchedImages) {
        double slope = 0;
        for (int j = image.first; j < image.end; j++)
            slope += potentialAtCharges[j] * selectedBareCharge[j];
        addSwitchingForces(image, slope, forces);
    }
}

} // namespace KStep
