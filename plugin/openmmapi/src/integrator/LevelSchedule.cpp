#include "LevelSchedule.h"
#include "openmm/CMMotionRemover.h"
#include "openmm/Force.h"
#include "openmm/NonbondedForce.h"
#include "openmm/OpenMMException.h"
#include <bit>
#include <cmath>
#include <map>
#include <set>
#include <string>

using OpenMM::OpenMMException;

namespace KStep {

namespace {

/** The group of the reciprocal space of an Ewald sum that has one of its own. */
std::optional<int> findReciprocalGroup(const OpenMM::Force &force) {
    const auto *nonbonded = dynamic_cast<const OpenMM::NonbondedForce *>(&force);
    if (nonbonded == nullptr || nonbonded->getReciprocalSpaceForceGroup() < 0)
        return std::nullopt;
    switch (nonbonded->getNonbondedMethod()) {
    case OpenMM::NonbondedForce::Ewald:
    case OpenMM::NonbondedForce::PME:
    case OpenMM::NonbondedForce::LJPME:
        return nonbonded->getReciprocalSpaceForceGroup();
    default:
        return std::nullopt;
    }
}

} // namespace

LevelSchedule LevelSchedule::create(const KStepIntegrator &integrator, const OpenMM::System &system) {
    std::set<int> occupied, acting;
    for (int i = 0; i < system.getNumForces(); i++) {
        const OpenMM::Force &force = system.getForce(i);
        occupied.insert(force.getForceGroup());
        if (const auto reciprocal = findReciprocalGroup(force)) {
            occupied.insert(*reciprocal);
            acting.insert(*reciprocal);
        }
        // It acts between steps, not through forces.
        if (dynamic_cast<const OpenMM::CMMotionRemover *>(&force) == nullptr)
            acting.insert(force.getForceGroup());
    }

    const int qmGroup = integrator.getQMGroup();
    std::vector<KStepIntegrator::Level> commons = integrator.getCommonGroups();
    const std::vector<KStepIntegrator::Level> surrogates = integrator.findSurrogateLevels(system);
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
    name(qmGroup, "the QM group", true);
    for (const auto &level : commons)
        name(level.group, "a common group", true);
    for (const auto &level : surrogates)
        name(level.group, "a surrogate level", true);
    if (commons.empty() && !named.contains(0)) {
        name(0, "the default common group", false);
        commons.push_back({0, 1});
    }
    for (int i = 0; i < system.getNumForces(); i++) {
        const OpenMM::Force &force = system.getForce(i);
        const auto requireName = [&](int group, const char *part) {
            if (!named.contains(group))
                throw OpenMMException("KStepIntegrator: " + std::string(part) + force.getName() + " (force " +
                                      std::to_string(i) + ") is in force group " + std::to_string(group) +
                                      ", which is neither common, a surrogate level nor the QM group, so it would be "
                                      "ignored; name its group with addCommonGroup() or addSurrogateLevel()");
        };
        requireName(force.getForceGroup(), "");
        if (const auto reciprocal = findReciprocalGroup(force))
            requireName(*reciprocal, "the reciprocal space of ");
    }
    for (int particle : integrator.getMonitoredParticles())
        if (particle < 0 || particle >= system.getNumParticles())
            throw OpenMMException("KStepIntegrator: monitored particle " + std::to_string(particle) +
                                  " does not exist; the System has " + std::to_string(system.getNumParticles()) +
                                  " particles");
    // A call of an empty group costs a fifth of a millisecond on the CPU platform.
    std::erase_if(commons, [&](const auto &level) { return !acting.contains(level.group); });

    LevelSchedule schedule;
    std::map<int, int> groupsOfPeriod;
    for (const auto &level : commons)
        groupsOfPeriod[level.period] |= 1 << level.group;
    for (const auto &[period, groups] : groupsOfPeriod)
        schedule.slots.push_back({groups, period});
    schedule.numCommon = static_cast<int>(schedule.slots.size());
    for (const auto &level : surrogates)
        schedule.slots.push_back({1 << level.group, level.period});
    schedule.slots.push_back({1 << qmGroup, integrator.getK()});
    schedule.checkK(integrator.getK());
    return schedule;
}

bool LevelSchedule::isNeededAtEnds(int slot) const {
    // A surrogate that is due whenever the next one is cancels out everywhere.
    return !isSurrogate(slot) || slot == getTopSurrogate() || slots[slot].period != slots[slot + 1].period;
}

void LevelSchedule::checkK(int k) const {
    if (k > 1 && getNumSurrogates() == 0)
        throw OpenMMException("KStepIntegrator: k = " + std::to_string(k) +
                              " needs a surrogate potential for the steps without a QM call, but no force is in a "
                              "surrogate level; add one (group 1 by default) or use k = 1");
    for (int slot = 0; slot < getQMSlot(); slot++)
        if (k % slots[slot].period != 0)
            throw OpenMMException("KStepIntegrator: the period " + std::to_string(slots[slot].period) + " of " +
                                  (isCommon(slot) ? "common" : "surrogate") + " group " +
                                  std::to_string(std::countr_zero(static_cast<unsigned>(slots[slot].groups))) +
                                  " does not divide k = " + std::to_string(k));
}

LevelSchedule::Table LevelSchedule::makeTable(int k) const {
    Table table(k);
    for (int innerStep = 0; innerStep < k; innerStep++) {
        for (int slot = 0; slot < numCommon; slot++)
            if (innerStep % slots[slot].period == 0)
                table[innerStep].push_back({slot, slots[slot].period});
        for (int slot = numCommon; slot < getQMSlot(); slot++) {
            if (innerStep % slots[slot].period != 0)
                continue;
            const int above = slot == getTopSurrogate() ? k : slots[slot + 1].period;
            const int weight = slots[slot].period - (innerStep % above == 0 ? above : 0);
            if (weight != 0)
                table[innerStep].push_back({slot, weight});
        }
    }
    table[0].push_back({getQMSlot(), k});
    return table;
}

LevelSchedule::Table LevelSchedule::makePlainTable(int k) const {
    std::vector<Due> row;
    for (int slot = 0; slot < numCommon; slot++)
        row.push_back({slot, 1});
    row.push_back({getQMSlot(), 1});
    return Table(k, row);
}

std::optional<LevelSchedule::Stroke> LevelSchedule::getStroke(int innerStep) const {
    const int n = numCommon > 0 ? slots[getSlowestCommon()].period : 1;
    const int place = (innerStep - 1) % n; // within the period
    const double time = innerStep - 0.5;
    if (std::abs(place + 0.5 - 0.5 * n) > 0.5)
        return std::nullopt;
    Stroke stroke = {n % 2 == 1 ? n : 0.5 * n, {}};
    for (int slot = 0; slot < numCommon; slot++) {
        // What acted last has given what is due until half a period later.
        const int period = slots[slot].period;
        const double given = (innerStep - 1) / period * period + 0.5 * period;
        if (given != time)
            stroke.shifts.push_back({slot, given - time});
    }
    return stroke;
}

} // namespace KStep
