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
    addCorrection(end);
    values.potentialEnergy = end.potentialEnergy;
    values.totalEnergy = end.potentialEnergy + summary.kineticEnergy;
    values.heat += summary.heat;
    values.energyError = values.totalEnergy - start.potentialEnergy - summary.startKineticEnergy - summary.heat;
    values.cumulativeEnergyError += values.energyError;
    values.regionKineticEnergy = summary.regionKineticEnergy;
    values.restKineticEnergy = summary.restKineticEnergy;
}

void Statistics::addRejectedStep(const StepEnd &start, double startKineticEnergy, bool byGuard, bool isFlipped) {
    values.outerSteps++;
    values.guardRejections += byGuard ? 1 : 0;
    values.consecutiveFallbacks = byGuard ? values.consecutiveFallbacks + 1 : 0;
    values.flips += isFlipped ? 1 : 0;
    addCorrection(start);
    values.potentialEnergy = start.potentialEnergy;
    values.totalEnergy = start.potentialEnergy + startKineticEnergy;
    values.energyError = 0;
}

void Statistics::addAcceptance(std::optional<double> error, double probability) {
    values.metropolisError = error;
    sumOfProbabilities += probability;
    numProbabilities++;
    values.meanAcceptanceProbability = sumOfProbabilities / static_cast<double>(numProbabilities);
}

void Statistics::addDecision(bool isAccepted) {
    (isAccepted ? values.acceptedSteps : values.rejectedSteps)++;
    values.acceptance =
        static_cast<double>(values.acceptedSteps) / static_cast<double>(values.acceptedSteps + values.rejectedSteps);
}

void Statistics::addCorrection(const StepEnd &end) {
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
}

} // namespace KStep
