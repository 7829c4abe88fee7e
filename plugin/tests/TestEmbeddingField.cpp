#include "Points.h"
#include "openmm/OpenMMException.h"
#include "openmmkstep/internal/EmbeddingField.h"
#include "openmmkstep/internal/PeriodicBox.h"
#include <algorithm>
#include <array>
#include <doctest/doctest.h>
#include <map>
#include <memory>

using namespace KStep;
using namespace KStep::tests;

namespace {

const Vec3 box[3] = {Vec3(2.4, 0, 0), Vec3(0.3, 2.5, 0), Vec3(-0.2, 0.4, 2.6)};

/**
 * Two sites, and charges in groups of the sizes named: the energy is that of fixed charges on the sites in the field.
 */
struct Field {
    Field(const std::vector<int> &sizes, double cutoff, double switchingDistance, int seed, bool hasBondCharges = false)
        : regionCharges{0.4, -0.7} {
        int particle = 2, group = 0;
        for (const int size : sizes) {
            const Vec3 place = randomPoints(1, 1.0, seed + group)[0];
            for (const Vec3 &offset : randomPoints(size, 0.12, seed + 100 + group)) {
                positions.push_back(place + offset);
                charges.addCharge(particle++, 0.3 * offset[0] / 0.12 + 0.4, group);
            }
            if (hasBondCharges) {
                // To a particle of the same group, or of another one.
                charges.addBondCharge(particle - 1, size > 1 ? particle - 2 : 3, 0.5, 0.9, group);
                charges.addBondCharge(particle - 1, particle > 3 ? 2 : 3, -0.06, -1.3, group);
            }
            group++;
        }
        charges.setCutoffDistance(cutoff);
        charges.setSwitchingDistance(switchingDistance);
        charges.setUsesPeriodicBoundaryConditions(cutoff > 0);
        positions.insert(positions.begin(), {Vec3(0, 0, 0), Vec3(0.1, 0.02, -0.03)});
        system = makeSystem(static_cast<int>(positions.size()));
        system.setDefaultPeriodicBoxVectors(box[0], box[1], box[2]);
        field = std::make_unique<EmbeddingField>(charges, std::vector<int>{0, 1}, system, "test");
    }
    double energy(const std::vector<Vec3> &places) {
        const std::vector<Vec3> sites(places.begin(), places.begin() + 2);
        field->update(sites, places, box);
        std::vector<double> potential;
        std::vector<Vec3> gradient;
        field->computePotential(sites, potential, gradient);
        return potential[0] * regionCharges[0] + potential[1] * regionCharges[1];
    }
    std::vector<Vec3> forces(const std::vector<Vec3> &places) {
        const std::vector<Vec3> sites(places.begin(), places.begin() + 2);
        field->update(sites, places, box);
        std::vector<double> potential, potentialAtCharges;
        std::vector<Vec3> gradient, chargeGradients, all(places.size(), Vec3());
        field->computePotential(sites, potential, gradient);
        field->backPropagatePotential(sites, regionCharges, chargeGradients, potentialAtCharges);
        field->addForces(chargeGradients, potentialAtCharges, all);
        for (int i = 0; i < 2; i++)
            all[i] -= gradient[i] * regionCharges[i];
        return all;
    }
    std::vector<double> regionCharges;
    std::vector<Vec3> positions;
    EmbeddingCharges charges;
    OpenMM::System system;
    std::unique_ptr<EmbeddingField> field;
};

} // namespace

TEST_CASE("without a cut-off the potential is Coulomb's sum over all charges") {
    Field field({1, 3, 5, 8}, 0, 0, 1);
    field.energy(field.positions);
    CHECK(field.field->getNumSelected() == 17);
    double expected = 0;
    for (int i = 0; i < 17; i++) {
        int particle, group;
        double charge;
        field.charges.getChargeParameters(i, particle, charge, group);
        for (int site = 0; site < 2; site++)
            expected += COULOMB_CONSTANT * charge * field.regionCharges[site] /
                        distance(field.positions[particle], field.positions[site]);
    }
    CHECK(field.energy(field.positions) == doctest::Approx(expected).epsilon(1e-13));
}

TEST_CASE("a bond charge lies on the line through its particles, at the image that is near the first") {
    EmbeddingCharges charges;
    charges.addCharge(1, 0, 0);
    charges.addBondCharge(1, 2, 0.25, 0.8, 0);
    charges.setCutoffDistance(1.1);
    charges.setUsesPeriodicBoundaryConditions(true);
    OpenMM::System system = makeSystem(3);
    system.setDefaultPeriodicBoxVectors(box[0], box[1], box[2]);
    EmbeddingField field(charges, {0}, system, "test");
    const Vec3 first(0.5, 0.1, 0.2), second(0.5, 0.3, 0.2);
    field.update({Vec3()}, {Vec3(), first, second - box[0] + box[2]}, box);
    REQUIRE(field.getNumSelected() == 2);
    CHECK(distance(field.getPositions()[1], first * 0.75 + second * 0.25) < 1e-12);
    CHECK(field.getCharges()[1] == field.getSwitchFactors()[0] * 0.8);
    CHECK(field.getParticles()[1] == 1);
}

TEST_CASE("bond charges do not change where their group is switched off") {
    for (const int size : {1, 3, 6}) {
        CAPTURE(size);
        Field without({size, 5}, 1.0, 0.2, 30), with({size, 5}, 1.0, 0.2, 30, true);
        without.energy(without.positions);
        with.energy(with.positions);
        std::vector<double> factors;
        for (int j = 0; j < with.field->getNumSelected(); j++)
            factors.push_back(with.field->getSwitchFactors()[j]);
        for (const double factor : without.field->getSwitchFactors())
            CHECK(std::count(factors.begin(), factors.end(), factor) > 0);
    }
}

TEST_CASE("forces are derivatives through the switching of small and large groups, in a triclinic box") {
    for (int seed = 0; seed < 24; seed++) {
        CAPTURE(seed);
        Field field({1, 2, 3, 4, 7, 7}, 1.0, 0.5, 10 * (seed / 2), seed % 2);
        const std::vector<Vec3> forces = field.forces(field.positions);
        for (size_t particle = 0; particle < field.positions.size(); particle++)
            for (int axis = 0; axis < 3; axis++) {
                const double h = 1e-5;
                std::vector<Vec3> left = field.positions, right = field.positions;
                left[particle][axis] -= h;
                right[particle][axis] += h;
                const double expected = (field.energy(left) - field.energy(right)) / (2 * h);
                CHECK(forces[particle][axis] == doctest::Approx(expected).epsilon(1e-6).scale(10));
            }
    }
}

TEST_CASE("the energy is continuous while a group goes through the switching region and past the cut-off") {
    for (const int size : {1, 3, 4, 9}) {
        CAPTURE(size);
        Field field({size}, 1.0, 0.6, 5);
        std::vector<Vec3> places = field.positions;
        const Vec3 center = places[2];
        // Beyond half the box another image comes in on the other side.
        const auto findLargestChange = [&](double step) {
            double before = 0, largest = 0;
            for (int i = 0; step * i < 2; i++) {
                for (size_t particle = 2; particle < places.size(); particle++)
                    places[particle] = field.positions[particle] + Vec3(0.3 + step * i, 0, 0) - center;
                const double energy = field.energy(places);
                if (i > 0)
                    largest = std::max(largest, std::abs(energy - before));
                before = energy;
            }
            return largest;
        };
        // A jump would stay as large as it is.
        const double largest = findLargestChange(1e-3);
        CHECK(largest > 0.01);
        CHECK(findLargestChange(1e-4) < 0.15 * largest);
    }
}

namespace {

/** What the region sees by the definition in EmbeddingCharges.h, of all groups and all images near and far. */
struct Seen {
    std::vector<int> particles;
    std::vector<double> factors;
    std::vector<Vec3> positions;
};

double switchValue(double distance, double begin, double end) {
    const double t = std::min(1.0, std::max(0.0, (distance - begin) / (end - begin)));
    return 1 - t * t * t * (10 - t * (15 - 6 * t));
}

Seen searchEverywhere(const EmbeddingCharges &charges, const std::vector<Vec3> &sites, const std::vector<Vec3> &places,
                      const Vec3 vectors[3]) {
    std::map<int, std::vector<int>> groups;
    for (int i = 0; i < charges.getNumCharges(); i++) {
        int particle, group;
        double charge;
        charges.getChargeParameters(i, particle, charge, group);
        groups[group].push_back(particle);
    }
    Seen seen;
    for (const auto &[group, members] : groups) {
        std::vector<Vec3> whole;
        Vec3 mean;
        for (const int particle : members) {
            Vec3 place = places[particle];
            if (!whole.empty())
                place = whole.back() + KStep::minimumImage(place - whole.back(), vectors);
            whole.push_back(place);
            mean += place * (1.0 / static_cast<double>(members.size()));
        }
        for (int image = 0; image < 7 * 7 * 7; image++) {
            const Vec3 shift =
                vectors[0] * (image % 7 - 3) + vectors[1] * (image / 7 % 7 - 3) + vectors[2] * (image / 49 - 3);
            double unseen = 1;
            for (const Vec3 &site : sites)
                if (members.size() <= 3)
                    unseen *= 1 - switchValue(distance(mean + shift, site), charges.getSwitchingDistance(),
                                              charges.getCutoffDistance());
                else
                    for (const Vec3 &place : whole)
                        unseen *= 1 - switchValue(distance(place + shift, site), charges.getSwitchingDistance(),
                                                  charges.getCutoffDistance());
            if (unseen == 1)
                continue;
            for (size_t j = 0; j < members.size(); j++) {
                seen.particles.push_back(members[j]);
                seen.factors.push_back(1 - unseen);
                seen.positions.push_back(whole[j] + shift);
            }
        }
    }
    return seen;
}

} // namespace

TEST_CASE("a field that has seen a long walk equals one that has seen nothing, and a search everywhere") {
    std::vector<int> sizes = {1, 2, 2, 4, 5, 6, 6, 9};
    sizes.resize(60, 3);
    int numSeen = 0, numChanges = 0;
    for (int seed = 0; seed < 4; seed++) {
        CAPTURE(seed);
        std::mt19937 generator(seed);
        std::normal_distribution<double> normal;
        const auto random = [&](double width) {
            const double x = width * normal(generator), y = width * normal(generator);
            return Vec3(x, y, width * normal(generator));
        };
        Field walker(sizes, 1.0, 0.7, 50 * seed);
        Vec3 vectors[3] = {Vec3(4.4, 0, 0), Vec3(0.6, 4.5, 0), Vec3(-0.9, 1.3, 4.3)};
        if (seed == 0)
            vectors[1] = Vec3(0, 4.5, 0), vectors[2] = Vec3(0, 0, 4.3);
        std::vector<Vec3> places = walker.positions;
        // Into the whole box; one group has members that are half a box apart.
        for (int i = 0; i < walker.charges.getNumCharges(); i++) {
            int particle, group;
            double charge;
            walker.charges.getChargeParameters(i, particle, charge, group);
            for (int axis = 0; axis < 3; axis++)
                places[particle] += vectors[axis] * std::fmod(std::array{0.37, 0.21, 0.59}[axis] * group, 1.0);
            if (group == 6)
                places[particle] += vectors[0] * (0.49 * (i % 2));
        }
        std::vector<int> before;
        for (int step = 0; step < 150; step++) {
            CAPTURE(step);
            for (Vec3 &place : places)
                place += random(0.02);
            const size_t one = generator() % places.size();
            if (step % 29 == 13)
                places[one] += random(1.0); // a large move of one particle
            if (step % 31 == 15)
                places[one] += vectors[generator() % 3]; // its other image, as when atoms are wrapped
            if (step % 37 == 16)                         // the region's other image
                for (int atom = 0; atom < 2; atom++)
                    places[atom] += vectors[1] * (step % 2 == 0 ? 1 : -1);
            if (step % 41 == 28)
                for (Vec3 &vector : vectors)
                    vector *= 1 + 0.02 * (generator() % 3 - 1.0);
            const std::vector<Vec3> sites(places.begin(), places.begin() + 2);
            walker.field->update(sites, places, vectors);
            EmbeddingField fresh(walker.charges, {0, 1}, walker.system, "test");
            fresh.update(sites, places, vectors);
            // To the last bit, in the same order.
            CHECK(walker.field->getParticles() == fresh.getParticles());
            CHECK(walker.field->getCharges() == fresh.getCharges());
            CHECK(walker.field->getPositions() == fresh.getPositions());
            const Seen expected = searchEverywhere(walker.charges, sites, places, vectors);
            REQUIRE(walker.field->getNumSelected() == static_cast<int>(expected.particles.size()));
            for (size_t i = 0; i < expected.particles.size(); i++) {
                CHECK(walker.field->getParticles()[i] == expected.particles[i]);
                CHECK(walker.field->getSwitchFactors()[i] == doctest::Approx(expected.factors[i]).epsilon(1e-9));
                CHECK(distance(walker.field->getPositions()[i], expected.positions[i]) < 1e-9);
            }
            numSeen += walker.field->getNumSelected();
            numChanges += before != walker.field->getParticles() ? 1 : 0;
            before = walker.field->getParticles();
        }
    }
    // The walks are such that something is seen and unseen.
    CHECK(numSeen > 5000);
    CHECK(numChanges > 100);
}

TEST_CASE("a group and a region that move towards each other see each other in time") {
    for (const int size : {1, 3, 6})
        for (const double start : {0.05, 0.5, 0.95, 1.05, 1.5, 3.0}) {
            CAPTURE(size);
            CAPTURE(start);
            Field walker({size}, 1.0, 0.7, 3);
            std::vector<Vec3> places = walker.positions;
            // The nearest charge and the nearest atom, which is at 0.1 nm, are the cut-off and some skins apart.
            for (size_t particle = 2; particle < places.size(); particle++)
                places[particle] = Vec3(0.1 + 1.0 + start * NearGroups::SKIN + 0.001 * particle, 0, 0);
            const Vec3 vectors[3] = {Vec3(9, 0, 0), Vec3(0, 9, 0), Vec3(0, 0, 9)};
            bool isSeen = false;
            for (int step = 0; step < 100 && !isSeen; step++) {
                const std::vector<Vec3> sites(places.begin(), places.begin() + 2);
                walker.field->update(sites, places, vectors);
                EmbeddingField fresh(walker.charges, {0, 1}, walker.system, "test");
                fresh.update(sites, places, vectors);
                isSeen = fresh.getNumSelected() > 0;
                CHECK(walker.field->getCharges() == fresh.getCharges());
                for (size_t particle = 0; particle < places.size(); particle++)
                    places[particle][0] += (particle < 2 ? 0.04 : -0.04) * NearGroups::SKIN;
            }
            CHECK(isSeen);
        }
}

TEST_CASE("a list of near groups holds until something has moved by half the skin, or the box is another") {
    const std::vector<Vec3> atoms = randomPoints(3, 1, 1), charges = randomPoints(5, 1, 2);
    const NearGroups::Box vectors = {box[0], box[1], box[2]};
    NearGroups list;
    const auto holds = [&](const std::vector<Vec3> &someAtoms, const std::vector<Vec3> &someCharges,
                           const NearGroups::Box &someBox) {
        return list.holdFor(someAtoms, [&](size_t i) { return someCharges[i]; }, someBox);
    };
    CHECK_FALSE(holds(atoms, charges, vectors));
    list.start(atoms, [&](size_t i) { return charges[i]; }, charges.size(), vectors);
    list.add(7);
    CHECK_FALSE(holds(atoms, charges, vectors)); // it is not finished
    list.finish();
    CHECK(holds(atoms, charges, vectors));
    CHECK(list.getGroups() == std::vector<int>{7});
    const double half = 0.5 * NearGroups::SKIN;
    for (const bool movesAtom : {true, false})
        for (const double move : {0.99 * half, 1.01 * half, std::nan("")}) {
            std::vector<Vec3> movedAtoms = atoms, movedCharges = charges;
            (movesAtom ? movedAtoms : movedCharges)[2][1] += move;
            CHECK(holds(movedAtoms, movedCharges, vectors) == (move < half));
        }
    NearGroups::Box other = vectors;
    other[2][0] += 1e-12;
    CHECK_FALSE(holds(atoms, charges, other));
}

TEST_CASE("charges that make no sense are refused") {
    const auto refuses = [](EmbeddingCharges charges) {
        const OpenMM::System system = makeSystem(4);
        CHECK_THROWS_AS(EmbeddingField(charges, {0, 1}, system, "test"), OpenMM::OpenMMException);
    };
    const auto with = [](int particle, double charge) {
        EmbeddingCharges charges;
        charges.addCharge(2, 0.5, 0);
        charges.addCharge(particle, charge, 0);
        return charges;
    };
    refuses(with(4, 0.5));
    refuses(with(1, 0.5));
    refuses(with(2, 0.5));
    refuses(with(3, std::nan("")));
}

TEST_CASE("bond charges that make no sense are refused") {
    const auto refuses = [](int particle1, int particle2, double weight, int group) {
        const OpenMM::System system = makeSystem(5);
        EmbeddingCharges charges;
        charges.addCharge(2, 0.5, 0);
        charges.addCharge(3, 0.5, 1);
        charges.addBondCharge(particle1, particle2, weight, 0.5, group);
        CHECK_THROWS_AS(EmbeddingField(charges, {0, 1}, system, "test"), OpenMM::OpenMMException);
    };
    refuses(4, 3, 0.5, 0); // has no charge
    refuses(2, 3, 0.5, 1); // is in another group
    refuses(2, 2, 0.5, 0);
    refuses(2, 5, 0.5, 0);
    refuses(2, 1, 0.5, 0); // is in the region
    refuses(2, 3, std::nan(""), 0);
}
