#include "GaussianNoise.h"
#include <istream>
#include <numbers>
#include <ostream>

namespace KStep {

namespace {

/** Where the tail begins, for 128 layers (Doornik 2005, table 1). */
constexpr double TAIL = 3.442619855899;

double curve(double x) {
    return std::exp(-0.5 * x * x);
}

} // namespace

const GaussianNoise::Ziggurat GaussianNoise::ziggurat;

GaussianNoise::Ziggurat::Ziggurat() {
    const double area = TAIL * curve(TAIL) + std::sqrt(0.5 * std::numbers::pi) * std::erfc(TAIL / std::numbers::sqrt2);
    edges[0] = area / curve(TAIL);
    edges[1] = TAIL;
    for (int i = 2; i < NUM_LAYERS; i++)
        edges[i] = std::sqrt(-2 * std::log(area / edges[i - 1] + curve(edges[i - 1])));
    edges[NUM_LAYERS] = 0;
    for (int i = 0; i < NUM_LAYERS; i++)
        ratios[i] = edges[i + 1] / edges[i];
}

double GaussianNoise::nextNearTheCurve(int layer, double u) {
    if (layer == 0) {
        // Of the tail (Marsaglia 1964).
        double beyond, y;
        do {
            beyond = -std::log(uniform()) / TAIL;
            y = -std::log(uniform());
        } while (2 * y < beyond * beyond);
        return u < 0 ? -TAIL - beyond : TAIL + beyond;
    }
    const double x = u * ziggurat.edges[layer];
    const double low = curve(ziggurat.edges[layer]), high = curve(ziggurat.edges[layer + 1]);
    return low + uniform() * (high - low) < curve(x) ? x : next();
}

void GaussianNoise::write(std::ostream &stream) const {
    stream << generator << ' ';
}

void GaussianNoise::read(std::istream &stream) {
    stream >> generator;
    stream.get();
}

} // namespace KStep
