#include "Acceptance.h"
#include <cmath>
#include <random>

namespace KStep {

Acceptance::Acceptance(int seed) {
    if (seed == 0) {
        std::random_device random;
        state = (static_cast<std::uint64_t>(random()) << 32) | random();
    } else
        state = static_cast<std::uint64_t>(seed);
}

/** SplitMix64 of Steele, Lea and Flood (OOPSLA 2014): one number of state, from which all others follow. */
double Acceptance::drawUniform() {
    state += 0x9e3779b97f4a7c15;
    std::uint64_t bits = state;
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
    bits ^= bits >> 31;
    return static_cast<double>(bits >> 11) * 0x1p-53;
}

double Acceptance::findProbability(double error, double kT) {
    return error <= 0 ? 1 : std::exp(-error / kT);
}

Acceptance::Verdict Acceptance::decide(double error, double kT, bool isDeterministic, bool reducesFlips) {
    const double accepted = findProbability(error, kT);
    const bool isReverseKnown = isDeterministic && reverseError.has_value();
    const double draw = drawUniform();
    Verdict verdict = Verdict::Flipped;
    if (draw < accepted)
        verdict = Verdict::Accepted;
    else if (reducesFlips && isReverseKnown && draw >= findProbability(*reverseError, kT))
        verdict = Verdict::Stayed;
    if (!isDeterministic)
        forget();
    else if (verdict == Verdict::Accepted)
        reverseError = -error;
    else if (verdict == Verdict::Flipped)
        reverseError = error;
    return verdict;
}

void Acceptance::checkSettings(const KStepIntegrator &integrator) {
    const std::vector<double> present = {
        static_cast<double>(integrator.getK()),          integrator.getInnerStepSize(), integrator.getTemperature(),
        static_cast<double>(integrator.getMetropolis()), integrator.getMaxCorrection(), integrator.getMaxEnergyError()};
    if (present != settings)
        forget();
    settings = present;
}

} // namespace KStep
