#include "Evaluator.h"
#include "openmm/Force.h"
#include "openmm/OpenMMException.h"
#include "openmm/internal/ForceImpl.h"
#include "openmmkstep/internal/Interruption.h"
#include <chrono>
#include <cmath>

using OpenMM::OpenMMException;

namespace KStep {

Evaluator::Evaluator(const LevelSchedule &schedule, OpenMM::ContextImpl &context, PropagationKernel &kernel,
                     Statistics &statistics)
    : schedule(schedule), context(context), kernel(kernel), statistics(statistics) {
    const int qmGroups = schedule.getSlots()[schedule.getQMSlot()].groups;
    for (OpenMM::ForceImpl *impl : context.getForceImpls())
        if (auto *level = dynamic_cast<QMLevelForce *>(impl)) {
            levelForces.push_back(level);
            if ((qmGroups & (1 << impl->getOwner().getForceGroup())) != 0)
                qmForces.push_back(level);
        }
}

void Evaluator::evaluate(int slot) {
    timedEvaluation(slot, false);
}

double Evaluator::timedEvaluation(int slot, bool includeEnergy) {
    KStepStatistics &counts = statistics.values;
    double *time = &counts.commonTime;
    long long *calls = &counts.commonCalls;
    const bool isQM = slot == schedule.getQMSlot();
    if (isQM) {
        time = &counts.qmTime;
        calls = &counts.qmCalls;
    } else if (schedule.isSurrogate(slot)) {
        time = &counts.surrogateTime[slot - schedule.getNumCommon()];
        calls = &counts.surrogateCalls[slot - schedule.getNumCommon()];
    }
    const long long before = isQM ? countQMCalculations() : 0;
    const auto start = std::chrono::steady_clock::now();
    const auto finish = [&] {
        *time += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        (*calls)++;
        if (isQM)
            ownQMCalculations += countQMCalculations() - before;
    };
    double energy = 0;
    try {
        energy = context.calcForcesAndEnergy(true, includeEnergy, schedule.getSlots()[slot].groups);
    } catch (const std::exception &error) {
        finish();
        if (Interruption::isRequested())
            throw InterruptedException();
        if (*error.what() == '\0')
            throw OpenMMException(std::string("KStepIntegrator: the ") +
                                  (isQM                         ? "QM"
                                   : schedule.isSurrogate(slot) ? "surrogate"
                                                                : "common") +
                                  " forces failed without a message");
        throw;
    }
    finish();
    return energy;
}

StepEnd Evaluator::evaluateEnd(int side, bool stopAtFailure, bool measureSurrogate) {
    StepEnd end;
    for (int slot = 0; slot < schedule.getNumCommon(); slot++) {
        end.potentialEnergy += timedEvaluation(slot, true);
        kernel.storeForces(context, getBuffer(side, slot));
    }
    // The QM call comes last: a surrogate that already failed here makes it unnecessary.
    for (int slot = schedule.getNumCommon(); slot < schedule.getQMSlot() && !end.rejection; slot++) {
        if (!schedule.isNeededAtEnds(slot))
            continue;
        try {
            const bool isMeasured = measureSurrogate && slot == schedule.getTopSurrogate();
            const double energy = timedEvaluation(slot, isMeasured);
            if (isMeasured)
                end.surrogateEnergy = energy;
            kernel.storeForces(context, getBuffer(side, slot));
        } catch (const InterruptedException &) {
            throw;
        } catch (const std::exception &error) {
            end.rejection = error.what();
            if (stopAtFailure)
                return end;
        }
    }
    end.qmEnergy = timedEvaluation(schedule.getQMSlot(), true);
    end.potentialEnergy += end.qmEnergy;
    kernel.storeForces(context, getBuffer(side, schedule.getQMSlot()));
    if (!std::isfinite(end.potentialEnergy))
        throw OpenMMException("KStepIntegrator: the energy of the common or QM forces is not finite");
    return end;
}

long long Evaluator::countQMCalculations() const {
    long long sum = 0;
    for (const QMLevelForce *force : qmForces)
        sum += force->getNumCalls();
    return sum;
}

std::optional<long long> Evaluator::countOtherQMCalls() const {
    if (qmForces.empty())
        return std::nullopt;
    return countQMCalculations() - ownQMCalculations;
}

std::vector<std::string> Evaluator::getQMMemories() {
    std::vector<std::string> memories;
    for (QMLevelForce *force : levelForces)
        memories.push_back(force->getMemory());
    return memories;
}

void Evaluator::recallQMMemories(const std::vector<std::string> &memories) {
    const bool isOfTheseForces = memories.size() == levelForces.size();
    for (size_t i = 0; i < levelForces.size(); i++)
        if (isOfTheseForces)
            levelForces[i]->recall(memories[i]);
        else
            levelForces[i]->forget();
}

} // namespace KStep
