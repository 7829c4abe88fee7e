#ifndef OPENMMKSTEP_STATISTICS_H_
#define OPENMMKSTEP_STATISTICS_H_

#include "StepEnd.h"
#include "openmmkstep/KStepIntegrator.h"
#include "openmmkstep/internal/StatisticsFields.h"

namespace KStep {

/** Keeps a KStepStatistics up to date. */
class Statistics {
public:
    /**
     * @param numSurrogates  levels below the QM level
     * @param numMonitored   particles over which the correction is measured
     */
    Statistics(int numSurrogates, size_t numMonitored);
    /** Whoever evaluates forces adds to its counters and times. */
    KStepStatistics values;
    /** Seconds spent in forces so far. */
    double getForceTime() const;
    /** Account for a step that was accepted; fellBack if it was taken with plain QM steps after all. */
    void addStep(const StepEnd &start, const StepEnd &end, const PropagationKernel::Summary &summary, bool fellBack);
    /** Account for a step that was rejected: it ends where it started. */
    void addRejectedStep(const StepEnd &start, double startKineticEnergy, bool byGuard, bool isFlipped);
    /** The error by which Metropolis decides, and with which probability; only the latter if the guard refused. */
    void addAcceptance(std::optional<double> error, double probability);
    /** Count a decision of Metropolis. */
    void addDecision(bool isAccepted);
    /** Call archive(value) for everything that a checkpoint must hold. */
    template <class Archive> void visit(Archive &archive) {
        visitStatistics([&](const char *, auto &value) { archive(value); }, values);
        archive(sumOfSquares);
        archive(sumOfProbabilities);
        archive(numProbabilities);
    }

private:
    void addCorrection(const StepEnd &end);
    size_t numMonitored;
    /** Of the corrections' RMS, over the steps at which one was measured. */
    double sumOfSquares = 0;
    /** With which Metropolis accepts, over the steps at which it was known. */
    double sumOfProbabilities = 0;
    long long numProbabilities = 0;
};

} // namespace KStep

#endif
