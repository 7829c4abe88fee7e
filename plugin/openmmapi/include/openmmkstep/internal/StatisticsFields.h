#ifndef OPENMMKSTEP_STATISTICSFIELDS_H_
#define OPENMMKSTEP_STATISTICSFIELDS_H_

#include "openmmkstep/KStepIntegrator.h"

namespace KStep {

/** Call visit(name, value) for every field of a KStepStatistics: the one list of them, for files and bindings. */
template <class Visitor, class Statistics> void visitStatistics(Visitor &&visit, Statistics &s) {
    visit("outerSteps", s.outerSteps);
    visit("innerSteps", s.innerSteps);
    visit("qmCalls", s.qmCalls);
    visit("otherQMCalls", s.otherQMCalls);
    visit("surrogateCalls", s.surrogateCalls);
    visit("commonCalls", s.commonCalls);
    visit("fallbacks", s.fallbacks);
    visit("consecutiveFallbacks", s.consecutiveFallbacks);
    visit("lastFallbackReason", s.lastFallbackReason);
    visit("measuredCorrections", s.measuredCorrections);
    visit("correctionRMS", s.correctionRMS);
    visit("meanCorrectionRMS", s.meanCorrectionRMS);
    visit("maxCorrection", s.maxCorrection);
    visit("energyError", s.energyError);
    visit("cumulativeEnergyError", s.cumulativeEnergyError);
    visit("totalEnergy", s.totalEnergy);
    visit("potentialEnergy", s.potentialEnergy);
    visit("heat", s.heat);
    visit("regionKineticEnergy", s.regionKineticEnergy);
    visit("restKineticEnergy", s.restKineticEnergy);
    visit("acceptedSteps", s.acceptedSteps);
    visit("rejectedSteps", s.rejectedSteps);
    visit("guardRejections", s.guardRejections);
    visit("flips", s.flips);
    visit("acceptance", s.acceptance);
    visit("metropolisError", s.metropolisError);
    visit("meanAcceptanceProbability", s.meanAcceptanceProbability);
    visit("qmTime", s.qmTime);
    visit("surrogateTime", s.surrogateTime);
    visit("commonTime", s.commonTime);
    visit("integratorTime", s.integratorTime);
}

} // namespace KStep

#endif
