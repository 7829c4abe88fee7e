#include "Ladder.h"
#include "openmm/CMMotionRemover.h"
#include "openmm/Force.h"
#include "openmm/OpenMMException.h"
#include <map>
#include <set>
#include <string>

using OpenMM::OpenMMException;

namespace KStep {

Ladder Ladder::create(const KStepIntegrator &integrator, const OpenMM::System &system) {
    std::set<int> occupied, acting;
    for (int i = 0; i < system.getNumForces(); i++) {
        const OpenMM::Force &force = system.getForce(i);
        occupied.insert(force.getForceGroup());
        // It acts between steps, not through forces.
        if (dynamic_cast<const OpenMM::CMMotionRemover *>(&force) == nullptr)
            acting.insert(force.getForceGroup());
    }

    Ladder ladder;
    ladder.qmGroup = integrator.getQMGroup();
    ladder.commons = integrator.getCommonGroups();
    ladder.surrogates = integrator.getSurrogateLevels();
    std::map<int, std::string> named;
    auto name = [&](int group, const std::string &role, bool mustBeOccupied) {
        if (named.contains(group))
            throw OpenMMException("KStepIntegrator: force group " + std::to_string(group) + " is named twice, as " +
                                  named[group] + " and as " + role + "; every group has one role");
        if (mustBeOccupied && !occupied.contains(group))
            throw OpenMMException("KStepIntegrator: force group " + std::to_string(group) + ", named as " + role +
                                  ", is empty: no force of the System belongs to it (see Force.setForceGroup())");
        named[group] = role;
    };
    name(ladder.qmGroup, "the QM group", true);
    for (const auto &level : ladder.commons)
        name(level.group, "a common group", true);
    for (const auto &level : ladder.surrogates)
        name(level.group, "a surrogate level", true);
    // Defaults: those groups of the default layout that exist.
    if (ladder.commons.empty() && !named.contains(0)) {
        name(0, "the default common group", false);
        ladder.commons.push_back({0, 1});
    }
    if (ladder.surrogates.empty() && !named.contains(1) && occupied.contains(1)) {
        name(1, "the default surrogate level", true);
        ladder.surrogates.push_back({1, 1});
    }
    for (int i = 0; i < system.getNumForces(); i++) {
        const OpenMM::Force &force = system.getForce(i);
        if (!named.contains(force.getForceGroup()))
            throw OpenMMException("KStepIntegrator: " + force.getName() + " (force " + std::to_string(i) +
                                  ") is in force group " + std::to_string(force.getForceGroup()) +
                                  ", which is neither common, a surrogate level nor the QM group, so it would be "
                                  "ignored; name its group with addCommonGroup() or addSurrogateLevel()");
    }
    if (integrator.getK() > 1 && ladder.surrogates.empty())
        throw OpenMMException("KStepIntegrator: k = " + std::to_string(integrator.getK()) +
                              " needs a surrogate potential for the steps without a QM call, but no force is in a "
                              "surrogate level; add one (group 1 by default) or use k = 1");
    for (int particle : integrator.getMonitoredParticles())
        if (particle < 0 || particle >= system.getNumParticles())
            throw OpenMMException("KStepIntegrator: monitored particle " + std::to_string(particle) +
                                  " does not exist; the System has " + std::to_string(system.getNumParticles()) +
                                  " particles");
    ladder.checkPeriods(integrator.getK());
    // A call of an empty group costs a fifth of a millisecond on the CPU platform.
    std::erase_if(ladder.commons, [&](const auto &level) { return !acting.contains(level.group); });
    return ladder;
}

int Ladder::getCommonGroups() const {
    int groups = 0;
    for (const auto &level : commons)
        groups |= 1 << level.group;
    return groups;
}

std::vector<Ladder::Term> Ladder::getCommonTerms(int innerStep) const {
    std::map<int, int> groupsOfPeriod;
    for (const auto &level : commons)
        if (innerStep % level.period == 0)
            groupsOfPeriod[level.period] |= 1 << level.group;
    std::vector<Term> terms;
    for (const auto &[period, groups] : groupsOfPeriod)
        terms.push_back({groups, period});
    return terms;
}

int Ladder::getSurrogateWeight(size_t level, int innerStep, int k) const {
    if (innerStep % surrogates[level].period != 0)
        return 0;
    const int next = level + 1 < surrogates.size() ? surrogates[level + 1].period : k;
    return surrogates[level].period - (innerStep % next == 0 ? next : 0);
}

void Ladder::checkPeriods(int k) const {
    auto check = [k](const std::vector<KStepIntegrator::Level> &levels, const char *role) {
        for (const auto &level : levels)
            if (k % level.period != 0)
                throw OpenMMException("KStepIntegrator: the period " + std::to_string(level.period) + " of " + role +
                                      " group " + std::to_string(level.group) +
                                      " does not divide k = " + std::to_string(k));
    };
    check(commons, "common");
    check(surrogates, "surrogate");
}

} // namespace KStep
