#include "Points.h"
#include "openmm/OpenMMException.h"
#include "openmmkstep/internal/EmbeddingField.h"
#include <algorithm>
#include <doctest/doctest.h>
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
