#include "Statistics.h"
#include <cmath>

namespace KStep {

Statistics::Statistics(int numSurrogates, size_t numMonitored) : numMonitored(numMonitored) {
    values.surrogateCalls.assign(numSurrogates, 0);
    values.surrogateTime.assign(numSurrogates, 0);
}

double Statistics::getForceTime() const {
    double sum = values.qmTime + values.commonTime;
    for (double time : values.surrogateTime)
        sum += time;
    return sum;
}

void Statistics::addStep(const StepEnd &start, const StepEnd &end, const PropagationKernel::Summary &summary,
                         bool fellBack) {
    values.outerSteps++;
    values.fallbacks += fellBack ? 1 : 0;
    values.consecutiveFallbacks = fellBack ? values.consecutiveFallbacks + 1 : 0;
    values.correctionRMS.reset();
    values.maxCorrection.reset();
    if (end.correction) {
        const double meanSquare = end.correction->sumOfSquares / (3.0 * static_cast<double>(numMonitored));
        values.correctionRMS = std::sqrt(meanSquare);
        values.maxCorrection = end.correction->maxNorm;
        sumOfSquares += meanSquare;
        values.measuredCorrections++;
        values.meanCorrectionRMS = std::sqrt(sumOfSquares / static_cast<double>(values.measuredCorrections));
    }
    values.potentialEnergy = end.potentialEnergy;
    values.totalEnergy = end.potentialEnergy + summary.kineticEnergy;
    values.heat += summary.heat;
    values.energyError = values.totalEnergy - start.potentialEnergy - summary.startKineticEnergy - summary.heat;
    values.cumulativeEnergyError += values.energyError;
    values.regionKineticEnergy = summary.regionKineticEnergy;
    values.restKineticEnergy = summary.restKineticEnergy;
}

} // namespace KStep
