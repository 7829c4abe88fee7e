#ifndef OPENMMKSTEP_GAUSSIANNOISE_H_
#define OPENMMKSTEP_GAUSSIANNOISE_H_

#include <array>
#include <cmath>
#include <cstdint>
#include <iosfwd>
#include <random>

namespace KStep {

/**
 * Normally distributed numbers from a generator with an exactly specified sequence, so that the sequence can be copied,
 * written and continued. By the ziggurat of Marsaglia and Tsang (J. Stat. Softw. 5(8), 2000) as Doornik corrected it
 * ("An improved ziggurat method to generate normal random samples", 2005): layer and place in it are independent bits.
 */
class GaussianNoise {
public:
    void seed(unsigned long long value) { generator.seed(value); }
    double next() {
        const std::uint64_t bits = generator();
        const int layer = static_cast<int>(bits % NUM_LAYERS);
        // 53 bits for a number in [-1, 1)
        const double u = 2 * (static_cast<double>(bits >> 11) * 0x1p-53) - 1;
        // 99 of 100 numbers lie under the curve for certain.
        return std::abs(u) < ziggurat.ratios[layer] ? u * ziggurat.edges[layer] : nextNearTheCurve(layer, u);
    }
    void write(std::ostream &stream) const;
    void read(std::istream &stream);

private:
    static constexpr int NUM_LAYERS = 128;
    /** Layers of equal area under exp(-x^2/2), the lowest with the tail. */
    struct Ziggurat {
        Ziggurat();
        /** Right ends of the layers; that of the lowest is where a rectangle of its height would have its area. */
        std::array<double, NUM_LAYERS + 1> edges;
        /** Of each layer, the part that lies under the layer above. */
        std::array<double, NUM_LAYERS> ratios;
    };
    double nextNearTheCurve(int layer, double u);
    /** In (0, 1], so that its logarithm is finite. */
    double uniform() { return (static_cast<double>(generator() >> 11) + 1) * 0x1p-53; }
    static const Ziggurat ziggurat;
    std::mt19937_64 generator;
};

} // namespace KStep

#endif
