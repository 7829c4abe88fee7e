#include "Guard.h"
#include <algorithm>
#include <cmath>
#include <sstream>

namespace KStep {

namespace {

std::string describeExcess(const std::string &what, double value, const std::string &unit, double bound) {
    std::ostringstream text;
    text << what << " of " << value << " " << unit << " exceeds the bound of " << bound;
    return text.str();
}

} // namespace

Guard::Guard(const KStepIntegrator &integrator, int numParticles)
    : integrator(integrator), sizeFactor(std::sqrt(std::max(1.0, numParticles / 1e4))) {}

void Guard::judge(StepEnd &end) const {
    if (!end.correction || end.rejection)
        return;
    const double largest = end.correction->maxNorm;
    if (!std::isfinite(largest)) {
        end.correction.reset();
        end.rejection = "the forces of the surrogate are not finite";
    } else if (largest > integrator.getMaxCorrection())
        end.rejection =
            describeExcess("a correction", largest, "kJ/mol/nm on one particle", integrator.getMaxCorrection());
}

std::optional<std::string> Guard::findRejection(const StepEnd &start, const Attempt &attempt) const {
    return attempt.end.rejection ? attempt.end.rejection : findFault(start, attempt);
}

std::optional<std::string> Guard::findFault(const StepEnd &start, const Attempt &attempt) const {
    if (!attempt.summary.isFinite)
        return "positions or velocities are not finite";
    const double error = attempt.findEnergyError(start);
    const double bound = sizeFactor * integrator.getMaxEnergyError();
    if (!(std::abs(error) <= bound))
        return describeExcess("an energy error", std::abs(error), "kJ/mol in one outer step", bound);
    return std::nullopt;
}

} // namespace KStep
