#include "Points.h"
#include "far_field/EwaldPotential.h"
#include "far_field/SurfaceCharges.h"
#include "openmmkstep/internal/EmbeddingField.h"
#include <cmath>
#include <doctest/doctest.h>
#include <numeric>

using namespace KStep;
using namespace KStep::tests;
using std::vector;

namespace {

const Vec3 cube[3] = {Vec3(2, 0, 0), Vec3(0, 2, 0), Vec3(0, 0, 2)};
const Vec3 triclinic[3] = {Vec3(2.4, 0, 0), Vec3(0.3, 2.5, 0), Vec3(-0.2, 0.4, 2.6)};

/** Rock salt with ions a distance of 1 nm apart. */
vector<Vec3> rockSalt() {
    vector<Vec3> ions;
    for (int i = 0; i < 8; i++)
        ions.emplace_back(i & 1, (i >> 1) & 1, i >> 2);
    return ions;
}
const vector<double> saltCharges = {1, -1, -1, 1, -1, 1, 1, -1};

/** Points that choose images for themselves. */
EwaldPotential::Points alone(const vector<Vec3> &positions) {
    vector<int> anchors(positions.size());
    std::iota(anchors.begin(), anchors.end(), 0);
    return {positions, anchors};
}

double weightedSum(const vector<double> &values, const vector<double> &weights) {
    return std::inner_product(values.begin(), values.end(), weights.begin(), 0.0);
}

} // namespace

TEST_CASE("the potential at an ion of rock salt has Madelung's constant") {
    EwaldPotential ewald(1, saltCharges, 1e-12);
    vector<Vec3> ions = rockSalt();
    ewald.update(ions, cube);
    // The ion itself is left out where it is; the charges of the others may be given at any image.
    CHECK(ewald.computePotential(alone({ions[0]}))[0] ==
          doctest::Approx(-1.7475645946 * COULOMB_CONSTANT).epsilon(1e-9));
    ions[5] += Vec3(2, -4, 6);
    ewald.update(ions, cube);
    CHECK(ewald.computePotential(alone({ions[0]}))[0] ==
          doctest::Approx(-1.7475645946 * COULOMB_CONSTANT).epsilon(1e-9));
}

TEST_CASE("charges of the group are left out where they are given, and nowhere else") {
    const vector<double> charges = {0.4, -0.9, 0.7, 0.5};
    vector<Vec3> places = randomPoints(4, 0.6, 11);
    places[1] = places[0] + Vec3(1.7, 0.1, -0.2); // more than half the box away
    const Vec3 point(0.1, -0.2, 0.3);
    EwaldPotential all(0, charges, 1e-10), images(2, charges, 1e-10);
    for (const Vec3 *box : {cube, triclinic}) {
        all.update(places, box);
        images.update(places, box);
        double own = 0;
        for (int j = 0; j < 2; j++)
            own += COULOMB_CONSTANT * charges[j] / std::sqrt((point - places[j]).dot(point - places[j]));
        CHECK(images.computePotential(alone({point}))[0] ==
              doctest::Approx(all.computePotential(alone({point}))[0] - own).epsilon(1e-7));
    }
}

TEST_CASE("the sum does not depend on where it is divided") {
    const vector<double> charges = {0.4, -0.9, 0.7, 0.5};
    const vector<Vec3> places = randomPoints(4, 1.2, 5), points = randomPoints(3, 1.2, 6);
    EwaldPotential coarse(2, charges, 1e-6), fine(2, charges, 1e-14);
    coarse.update(places, triclinic);
    fine.update(places, triclinic);
    for (int p = 0; p < 3; p++)
        CHECK(std::abs(coarse.computePotential(alone(points))[p] - fine.computePotential(alone(points))[p]) < 1e-3);
}

TEST_CASE("forces are derivatives of the Ewald sum") {
    const vector<double> charges = {0.4, -0.9, 0.7, 0.5}, weights = {0.3, -0.5, 0.8};
    vector<Vec3> places = randomPoints(4, 1.2, 5), points = randomPoints(3, 1.2, 6);
    points[2] = places[0]; // where a charge is left out
    EwaldPotential ewald(2, charges, 1e-10);
    const auto energy = [&] {
        ewald.update(places, triclinic);
        return weightedSum(ewald.computePotential(alone(points)), weights);
    };
    energy();
    vector<Vec3> onPoints(3), onCharges(4);
    ewald.addForces(alone(points), weights, onPoints, onCharges);
    for (auto [moved, forces] : {std::pair(&points, &onPoints), std::pair(&places, &onCharges)})
        for (size_t i = 0; i < moved->size(); i++)
            for (int axis = 0; axis < 3; axis++) {
                const double here = (*moved)[i][axis], step = 1e-4;
                (*moved)[i][axis] = here + step;
                const double above = energy();
                (*moved)[i][axis] = here - step;
                const double below = energy();
                (*moved)[i][axis] = here;
                CHECK((below - above) / (2 * step) == doctest::Approx((*forces)[i][axis]).epsilon(1e-6));
            }
}

TEST_CASE("points that share an anchor feel what they feel alone") {
    // Many charges, so that some are within reach of one point and not of another, or nearest at another image.
    const vector<Vec3> places = randomPoints(4000, 3.0, 8), around = randomPoints(6, 0.057, 9);
    const vector<double> charges(4000, 0.5);
    EwaldPotential ewald(0, charges);
    vector<Vec3> points = {Vec3(0.2, -0.4, 0.7)};
    for (const Vec3 &offset : around)
        points.push_back(points[0] + offset);
    const vector<double> weights = {1, -2, 3, 1, 2, -1, 1};
    for (const Vec3 *box : {cube, triclinic}) {
        ewald.update(places, box);
        const EwaldPotential::Points sharing{points, vector<int>(points.size(), 0)};
        const vector<double> expected = ewald.computePotential(alone(points)), found = ewald.computePotential(sharing);
        vector<Vec3> onPoints(7), onCharges(4000), onPointsAlone(7), onChargesAlone(4000);
        ewald.addForces(alone(points), weights, onPointsAlone, onChargesAlone);
        ewald.addForces(sharing, weights, onPoints, onCharges);
        for (size_t p = 0; p < points.size(); p++) {
            CHECK(std::abs(found[p] - expected[p]) < 1e-8);
            CHECK(distance(onPoints[p], onPointsAlone[p]) < 1e-8 * std::sqrt(onPointsAlone[p].dot(onPointsAlone[p])));
        }
    }
}

TEST_CASE("charges on a surface make the field of charges outside") {
    const vector<Vec3> sites = randomPoints(10, 0.3, 21);
    SurfaceCharges surface(10);
    surface.place(sites);
    const Vec3 sources[] = {Vec3(1.1, 0.4, -0.2), Vec3(-0.3, -1.2, 0.5), Vec3(0.2, 0.9, 1.3)};
    const double charges[] = {0.8, -0.6, 0.5};
    const auto potential = [&](const Vec3 &point) {
        double sum = 7.0; // and that of charges far away
        for (int k = 0; k < 3; k++)
            sum += COULOMB_CONSTANT * charges[k] / std::sqrt((point - sources[k]).dot(point - sources[k]));
        return sum;
    };
    vector<double> atProbes;
    for (const Vec3 &probe : surface.getProbes())
        atProbes.push_back(potential(probe));
    surface.fit(atProbes);
    CHECK(surface.getResidual() < 0.1); // of some 100 kJ/mol/e
    // Where no probe is, too.
    vector<Vec3> points = randomPoints(50, 0.2, 22), gradient(50);
    vector<double> made(50, 0);
    surface.addPotential(points, made, gradient);
    double spread = 0, mean = 0, worst = 0, worstSlope = 0, largestSlope = 0;
    for (int i = 0; i < 50; i++)
        mean += potential(points[i]) / 50;
    for (int i = 0; i < 50; i++) {
        spread = std::max(spread, std::abs(potential(points[i]) - mean));
        worst = std::max(worst, std::abs(made[i] - potential(points[i])));
        for (int axis = 0; axis < 3; axis++) {
            Vec3 above = points[i], below = points[i];
            above[axis] += 1e-4;
            below[axis] -= 1e-4;
            const double slope = (potential(above) - potential(below)) / 2e-4;
            largestSlope = std::max(largestSlope, std::abs(slope));
            worstSlope = std::max(worstSlope, std::abs(gradient[i][axis] - slope));
        }
    }
    CHECK(worst < 0.02 * spread);
    CHECK(worstSlope < 0.03 * largestSlope);
}

TEST_CASE("derivatives go back through the charges on the surface") {
    // A function of the places that is no potential: the energy of one hardly depends on where the charges are. And a
    // potential that does not move.
    const auto fieldAt = [](const Vec3 &point) { return 100 * point[0] * point.dot(point); };
    const auto fieldGradient = [](const Vec3 &point) {
        return Vec3(100 * point.dot(point), 0, 0) + point * (200 * point[0]);
    };
    const auto potentialAt = [](const Vec3 &point) { return 30 * point[0] - 20 * point[1] * point[2] + 5; };
    const auto potentialGradient = [](const Vec3 &point) { return Vec3(30, -20 * point[2], -20 * point[1]); };
    for (const int numSites : {1, 6}) {
        vector<Vec3> sites = randomPoints(numSites, 0.3, 31);
        SurfaceCharges surface(numSites);
        const auto energy = [&] {
            surface.place(sites);
            vector<double> atProbes;
            for (const Vec3 &probe : surface.getProbes())
                atProbes.push_back(potentialAt(probe));
            surface.fit(atProbes);
            double sum = 0;
            for (size_t m = 0; m < surface.getCharges().size(); m++)
                sum += surface.getCharges()[m] * fieldAt(surface.getPositions()[m]);
            return sum;
        };
        energy();
        vector<double> derivatives, weights;
        vector<Vec3> gradients, forces;
        for (size_t m = 0; m < surface.getCharges().size(); m++) {
            derivatives.push_back(fieldAt(surface.getPositions()[m]));
            gradients.push_back(fieldGradient(surface.getPositions()[m]) * surface.getCharges()[m]);
        }
        surface.backPropagate(derivatives, gradients, weights, forces);
        for (size_t p = 0; p < weights.size(); p++)
            forces[SurfaceCharges::siteOfProbe(p)] -= potentialGradient(surface.getProbes()[p]) * weights[p];
        // Energies have the noise of a badly conditioned system of equations, 1e-9 of some 10 kJ/mol.
        const double step = 1e-3;
        for (int i = 0; i < numSites; i++)
            for (int axis = 0; axis < 3; axis++) {
                const double here = sites[i][axis];
                const auto slope = [&](double distance) {
                    sites[i][axis] = here + distance;
                    const double above = energy();
                    sites[i][axis] = here - distance;
                    const double below = energy();
                    sites[i][axis] = here;
                    return (below - above) / (2 * distance);
                };
                const double expected = (4 * slope(step) - slope(2 * step)) / 3;
                CHECK(std::abs(expected - forces[i][axis]) < 1e-4);
            }
    }
}
