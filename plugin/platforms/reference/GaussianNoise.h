#ifndef OPENMMKSTEP_GAUSSIANNOISE_H_
#define OPENMMKSTEP_GAUSSIANNOISE_H_

#include <cmath>
#include <iosfwd>
#include <numbers>
#include <random>

namespace KStep {

/**
 * Normally distributed numbers from a generator with an exactly specified sequence, by the method of Box and Muller, so
 * that the sequence can be copied, written and continued.
 */
class GaussianNoise {
public:
    void seed(unsigned long long value);
    double next() {
        if (hasSpare) {
            hasSpare = false;
            return spare;
        }
        // 53 random bits each; u is in (0, 1] so that its logarithm is finite.
        const double u = (static_cast<double>(generator() >> 11) + 1) * 0x1p-53;
        const double angle = 2 * std::numbers::pi * static_cast<double>(generator() >> 11) * 0x1p-53;
        const double radius = std::sqrt(-2 * std::log(u));
        spare = radius * std::sin(angle);
        hasSpare = true;
        return radius * std::cos(angle);
    }
    void write(std::ostream &stream) const;
    void read(std::istream &stream);

private:
    std::mt19937_64 generator;
    double spare = 0;
    bool hasSpare = false;
};

} // namespace KStep

#endif
