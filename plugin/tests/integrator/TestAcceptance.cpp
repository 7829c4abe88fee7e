#include "integrator/Acceptance.h"
#include <cmath>
#include <doctest/doctest.h>
#include <limits>
#include <random>
#include <vector>

using KStep::Acceptance;
using Verdict = KStep::Acceptance::Verdict;

namespace {

const std::vector<double> ENERGIES = {0.0, 1.5, 0.3, 2.2, 0.9, 0.1, 1.1};
const int NUM_PLACES = static_cast<int>(ENERGIES.size());

struct Walk {
    /** How often the walker was at each place. */
    std::vector<double> visits = std::vector<double>(NUM_PLACES);
    int rejections = 0, flips = 0;
};

/** A walker on a ring goes on in its direction; kT = 1; in every interval-th step the direction is drawn anew before.
 */
Walk walk(int interval, bool reducesFlips, int steps) {
    Acceptance acceptance(7);
    std::mt19937 random(1);
    Walk result;
    int place = 0, direction = 1;
    for (int step = 0; step < steps; step++) {
        const bool isDeterministic = step % interval != 0;
        if (!isDeterministic)
            direction = random() % 2 == 0 ? 1 : -1;
        const int next = (place + direction + NUM_PLACES) % NUM_PLACES;
        switch (acceptance.decide(ENERGIES[next] - ENERGIES[place], 1.0, isDeterministic, reducesFlips)) {
        case Verdict::Accepted:
            place = next;
            break;
        case Verdict::Flipped:
            direction = -direction;
            result.flips++;
            [[fallthrough]];
        case Verdict::Stayed:
            result.rejections++;
        }
        result.visits[place]++;
    }
    return result;
}

} // namespace

TEST_CASE("a walk on a ring has the canonical distribution, with all flips and with few") {
    double sum = 0;
    for (const double energy : ENERGIES)
        sum += std::exp(-energy);
    constexpr int steps = 4'000'000;
    for (const int interval : {1, 3, 10})
        for (const bool reduced : {false, true}) {
            CAPTURE(interval);
            CAPTURE(reduced);
            const Walk result = walk(interval, reduced, steps);
            for (int place = 0; place < NUM_PLACES; place++)
                CHECK(result.visits[place] / steps == doctest::Approx(std::exp(-ENERGIES[place]) / sum).epsilon(0.01));
            if (reduced && interval > 1)
                CHECK(result.flips < 0.9 * result.rejections);
            else
                CHECK(result.flips == result.rejections);
        }
}

TEST_CASE("infinite errors are never accepted, and a step that leads nowhere either way turns round once") {
    Acceptance acceptance(1);
    const double never = std::numeric_limits<double>::infinity();
    CHECK(acceptance.decide(never, 1.0, true, true) == Verdict::Flipped);
    CHECK(acceptance.decide(never, 1.0, true, true) == Verdict::Stayed);
    acceptance.forget();
    CHECK(acceptance.decide(never, 1.0, true, true) == Verdict::Flipped);
    CHECK(acceptance.decide(-1.0, 1.0, true, true) == Verdict::Accepted);
}

TEST_CASE("a seed fixes the decisions; without one they are new") {
    const auto draw = [](int seed) {
        Acceptance acceptance(seed);
        std::vector<Verdict> verdicts(100);
        for (Verdict &verdict : verdicts)
            verdict = acceptance.decide(0.7, 1.0, false, false);
        return verdicts;
    };
    CHECK(draw(3) == draw(3));
    CHECK(draw(3) != draw(4));
    CHECK(draw(0) != draw(0));
}
