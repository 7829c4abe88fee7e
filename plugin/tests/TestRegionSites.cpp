#include "Points.h"
#include "openmm/OpenMMException.h"
#include "openmmkstep/internal/RegionSites.h"
#include <doctest/doctest.h>
#include <limits>

using namespace KStep;
using namespace KStep::tests;

namespace {

const Vec3 triclinic[3] = {Vec3(2, 0, 0), Vec3(0.5, 2.1, 0), Vec3(-0.4, 0.7, 1.9)};

/** A chain of neighbours 0.15 nm apart. */
std::vector<Vec3> makeChain(int number, int seed) {
    std::vector<Vec3> positions{Vec3(0.3, 0.2, 0.1)};
    for (const Vec3 &step : randomPoints(number - 1, 1, seed))
        positions.push_back(positions.back() + step * (0.15 / std::sqrt(step.dot(step))));
    return positions;
}

QMRegion makeRegion(int numAtoms) {
    QMRegion region;
    for (int i = 0; i < numAtoms; i++)
        region.addAtom(i, 6);
    return region;
}

} // namespace

TEST_CASE("a region is put in one piece wherever the box cuts it") {
    const int n = 6;
    const OpenMM::System system = makeSystem(n);
    const QMRegion region = makeRegion(n);
    RegionSites sites(region, system, true, "test");
    for (int seed = 0; seed < 20; seed++) {
        const std::vector<Vec3> chain = makeChain(n, seed);
        std::vector<Vec3> cut = chain;
        std::mt19937 generator(seed);
        std::uniform_int_distribution<int> images(-2, 2);
        for (Vec3 &position : cut)
            position +=
                triclinic[0] * images(generator) + triclinic[1] * images(generator) + triclinic[2] * images(generator);
        sites.place(cut, triclinic);
        for (int i = 0; i < n; i++)
            for (int j = 0; j < i; j++)
                CHECK(distance(sites.getPositions()[i], sites.getPositions()[j]) ==
                      doctest::Approx(distance(chain[i], chain[j])).epsilon(1e-12));
        sites.accept();
        CHECK(!sites.haveImagesChanged());
    }
}

TEST_CASE("a region that reaches around the box notices that its images have changed") {
    const Vec3 box[3] = {Vec3(1, 0, 0), Vec3(0, 5, 0), Vec3(0, 0, 5)};
    const OpenMM::System system = makeSystem(3);
    const QMRegion region = makeRegion(3);
    RegionSites sites(region, system, true, "test");
    // The gap between the last and the first, across the face, is almost as long as those between neighbours.
    sites.place({Vec3(0, 0, 0), Vec3(0.33, 0, 0), Vec3(0.66, 0, 0)}, box);
    sites.accept();
    sites.place({Vec3(0, 0, 0), Vec3(0.33, 0, 0), Vec3(0.671, 0, 0)}, box);
    CHECK(sites.haveImagesChanged());
    CHECK(sites.getFormerPositions().size() == 3);
}

TEST_CASE("forces on sites are given to particles by the chain rule") {
    OpenMM::System system = makeSystem(4);
    QMRegion region = makeRegion(2);
    region.addLinkAtom(1, 2, 0.7, 1);
    RegionSites sites(region, system, false, "test");
    const std::vector<Vec3> positions = makeChain(4, 3), weights = randomPoints(3, 1, 4);
    // E = sum_i w_i x_i over sites, so the forces on sites are -w_i wherever they are.
    const auto energy = [&](const std::vector<Vec3> &places) {
        sites.place(places, nullptr);
        double sum = 0;
        for (int i = 0; i < 3; i++)
            sum += weights[i].dot(sites.getPositions()[i]);
        return sum;
    };
    std::vector<Vec3> siteForces, forces(4, Vec3());
    for (const Vec3 &weight : weights)
        siteForces.push_back(weight * -1.0);
    energy(positions);
    CHECK(distance(sites.getPositions()[2], positions[1] + (positions[2] - positions[1]) * 0.7) < 1e-15);
    sites.addForces(siteForces, forces);
    for (int particle = 0; particle < 4; particle++)
        for (int axis = 0; axis < 3; axis++) {
            std::vector<Vec3> left = positions, right = positions;
            left[particle][axis] -= 0.01;
            right[particle][axis] += 0.01;
            CHECK(forces[particle][axis] == doctest::Approx((energy(left) - energy(right)) / 0.02).epsilon(1e-10));
        }
}

TEST_CASE("positions that are not finite are refused") {
    const OpenMM::System system = makeSystem(2);
    const QMRegion region = makeRegion(2);
    RegionSites sites(region, system, false, "test");
    const double nan = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS_AS(sites.place({Vec3(), Vec3(0, nan, 0)}, nullptr), OpenMM::OpenMMException);
}

TEST_CASE("a geometry is recognised to the last bit, and the box with it") {
    LastGeometry geometry({0, 2}, true);
    std::vector<Vec3> positions = randomPoints(3, 1, 1);
    CHECK(!geometry.matches(positions, triclinic));
    geometry.remember(positions, triclinic);
    CHECK(geometry.matches(positions, triclinic));
    positions[1][0] += 1; // it does not depend on this one
    CHECK(geometry.matches(positions, triclinic));
    Vec3 box[3] = {triclinic[0], triclinic[1], triclinic[2]};
    box[2][2] = std::nextafter(box[2][2], 3);
    CHECK(!geometry.matches(positions, box));
    positions[2][1] = std::nextafter(positions[2][1], 9);
    CHECK(!geometry.matches(positions, triclinic));
    geometry.forget();
    CHECK(!geometry.isRemembered());
}
