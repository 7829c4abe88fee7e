#include "Points.h"
#include "engines/LargeStackThread.h"
#include "engines/OddRotation.h"
#include "engines/PotentialByQuadrature.h"
#include "qmmm/CoulombKernels.h"
#include <doctest/doctest.h>
#include <stdexcept>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace KStep;
using namespace KStep::tests;

TEST_CASE("the potential comes out of its gradient along rays") {
    const std::vector<Vec3> atoms = randomPoints(12, 0.4, 1);
    const std::vector<Vec3> charges = randomPoints(12, 1, 2); // their first component
    std::vector<Vec3> points;
    for (const Vec3 &point : randomPoints(60, 1.5, 3)) {
        double nearest = 1e9;
        for (const Vec3 &atom : atoms)
            nearest = std::min(nearest, distance(atom, point));
        if (nearest > 0.15)
            points.push_back(point);
    }
    REQUIRE(points.size() > 30);
    const PotentialByQuadrature quadrature(atoms, points);
    std::vector<Vec3> gradients;
    for (const Vec3 &place : quadrature.getPositions()) {
        Vec3 gradient;
        for (size_t i = 0; i < atoms.size(); i++) {
            const Vec3 delta = place - atoms[i];
            const double r = std::sqrt(delta.dot(delta));
            gradient -= delta * (charges[i][0] / (r * r * r));
        }
        gradients.push_back(gradient);
    }
    const std::vector<double> potentials = quadrature.integrate(gradients);
    for (size_t p = 0; p < points.size(); p++) {
        double expected = 0;
        for (size_t i = 0; i < atoms.size(); i++)
            expected += charges[i][0] / distance(points[p], atoms[i]);
        CHECK(std::abs(potentials[p] - expected) < 1e-7);
    }
}

TEST_CASE("an odd rotation keeps distances, separates coordinates and can be undone") {
    std::vector<Vec3> flat = randomPoints(40, 1, 4);
    for (size_t i = 0; i < flat.size(); i++) {
        flat[i][2] = 0;             // in a plane
        flat[i][0] = 0.1 * (i % 5); // many on lines
        flat[i][1] = 0.013 * i;
    }
    const OddRotation rotation = OddRotation::find(flat);
    CHECK(rotation.separates(flat));
    for (size_t i = 1; i < flat.size(); i++) {
        CHECK(distance(rotation.undo(rotation.apply(flat[i])), flat[i]) < 1e-15);
        CHECK(distance(rotation.apply(flat[i]), rotation.apply(flat[0])) ==
              doctest::Approx(distance(flat[i], flat[0])).epsilon(1e-13));
    }
}

TEST_CASE("loops over charges give Coulomb's sums and derivatives") {
    const int n = 1003; // no multiple of a vector's length
    const std::vector<Vec3> places = randomPoints(n, 2, 5);
    std::vector<double> x, y, z, charge, potential(n, 0), gx(n, 0), gy(n, 0), gz(n, 0);
    for (const Vec3 &place : places) {
        x.push_back(place[0]);
        y.push_back(place[1]);
        z.push_back(place[2]);
        charge.push_back(std::sin(100 * place[0]));
    }
    const double site[3] = {3.1, -2.5, 2.9}, weight = 0.7;
    double sum = 0, gradient[3], expected = 0;
    Vec3 expectedGradient;
    sumPotential({n, x.data(), y.data(), z.data(), charge.data()}, site, sum, gradient);
    addSitePotential({n, x.data(), y.data(), z.data(), charge.data()}, site, weight, potential.data(), gx.data(),
                     gy.data(), gz.data());
    for (int i = 0; i < n; i++) {
        const Vec3 delta = Vec3(site[0], site[1], site[2]) - places[i];
        const double r = std::sqrt(delta.dot(delta));
        expected += charge[i] / r;
        expectedGradient -= delta * (charge[i] / (r * r * r));
        CHECK(potential[i] == doctest::Approx(weight / r).epsilon(1e-13));
        CHECK(gx[i] == doctest::Approx(weight * delta[0] / (r * r * r)).epsilon(1e-12));
    }
    CHECK(sum == doctest::Approx(expected).epsilon(1e-12));
    for (int axis = 0; axis < 3; axis++)
        CHECK(gradient[axis] == doctest::Approx(expectedGradient[axis]).epsilon(1e-11));
}

namespace {

/** Touches more stack than threads usually have. */
long fillStack(int depth) {
    volatile char block[1 << 20];
    for (size_t i = 0; i < sizeof(block); i += 4096)
        block[i] = static_cast<char>(depth);
    return depth == 0 ? block[0] : fillStack(depth - 1) + block[4096];
}

} // namespace

TEST_CASE("a function finds a large stack, its exceptions come back, and callers take turns") {
    LargeStackThread thread;
    thread.run([] { CHECK(fillStack(64) >= 0); });
    CHECK_THROWS_WITH_AS(thread.run([] { throw std::runtime_error("from there"); }), "from there", std::runtime_error);

    int running = 0, most = 0, calls = 0;
    const auto call = [&] {
        for (int i = 0; i < 50; i++)
            thread.run([&] {
                most = std::max(most, ++running);
                calls++;
                running--;
            });
    };
    std::thread one(call), two(call);
    one.join();
    two.join();
    CHECK(most == 1);
    CHECK(calls == 100);
}

TEST_CASE("a forked process gets a thread of its own") {
    LargeStackThread thread;
    thread.run([] {});
    const pid_t child = fork();
    if (child == 0) {
        int result = 0;
        alarm(20);
        thread.run([&] { result = 7; });
        _exit(result);
    }
    int status = 0;
    waitpid(child, &status, 0);
    CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 7));
}
