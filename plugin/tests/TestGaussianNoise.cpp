#include "reference/GaussianNoise.h"
#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <numbers>
#include <sstream>
#include <vector>

using KStep::GaussianNoise;

namespace {

double normalDistribution(double x) {
    return 0.5 * std::erfc(-x / std::numbers::sqrt2);
}

std::vector<double> draw(int number, int seed) {
    GaussianNoise noise;
    noise.seed(seed);
    std::vector<double> numbers(number);
    for (double &x : numbers)
        x = noise.next();
    return numbers;
}

} // namespace

TEST_CASE("noise is normally distributed, by the test of Kolmogorov and Smirnov") {
    std::vector<double> numbers = draw(4'000'000, 1);
    std::sort(numbers.begin(), numbers.end());
    const double n = static_cast<double>(numbers.size());
    double largest = 0;
    for (size_t i = 0; i < numbers.size(); i++) {
        const double expected = normalDistribution(numbers[i]);
        largest = std::max({largest, std::abs(expected - i / n), std::abs(expected - (i + 1) / n)});
    }
    // Exceeded once in a thousand times by noise without fault.
    CHECK(std::sqrt(n) * largest < 1.95);
}

TEST_CASE("the tail of the noise and what lies between its layers have their weight") {
    const std::vector<double> numbers = draw(10'000'000, 2);
    const double n = static_cast<double>(numbers.size());
    // 3.4426 is where the tail begins.
    for (const double limit : {0.1, 1.0, 2.0, 3.0, 3.4426, 3.6, 4.2})
        for (const double sign : {-1.0, 1.0}) {
            CAPTURE(sign * limit);
            const double expected = n * normalDistribution(-limit);
            const double found = static_cast<double>(
                std::count_if(numbers.begin(), numbers.end(), [&](double x) { return sign * x > limit; }));
            CHECK(std::abs(found - expected) < 4 * std::sqrt(expected));
        }
}

TEST_CASE("the moments of the noise are those of the normal distribution, and what follows knows nothing of it") {
    const std::vector<double> numbers = draw(4'000'000, 3);
    const double n = static_cast<double>(numbers.size());
    double sums[4] = {0, 0, 0, 0}, product = 0, squares = 0;
    for (size_t i = 0; i < numbers.size(); i++) {
        double power = 1;
        for (double &sum : sums)
            sum += power *= numbers[i];
        if (i > 0) {
            product += numbers[i] * numbers[i - 1];
            squares += (numbers[i] * numbers[i] - 1) * (numbers[i - 1] * numbers[i - 1] - 1);
        }
    }
    // Within four standard errors.
    CHECK(std::abs(sums[0] / n) < 4 * std::sqrt(1 / n));
    CHECK(std::abs(sums[1] / n - 1) < 4 * std::sqrt(2 / n));
    CHECK(std::abs(sums[2] / n) < 4 * std::sqrt(15 / n));
    CHECK(std::abs(sums[3] / n - 3) < 4 * std::sqrt(96 / n));
    CHECK(std::abs(product / n) < 4 * std::sqrt(1 / n));
    CHECK(std::abs(squares / n) < 4 * std::sqrt(4 / n));
}

TEST_CASE("noise that was written goes on where it was") {
    GaussianNoise noise;
    noise.seed(4);
    for (int i = 0; i < 1001; i++)
        noise.next();
    std::stringstream stream;
    noise.write(stream);
    stream << "what follows";
    GaussianNoise taken;
    taken.read(stream);
    for (int i = 0; i < 1000; i++)
        CHECK(noise.next() == taken.next());
    std::string rest;
    std::getline(stream, rest);
    CHECK(rest == "what follows");
}
