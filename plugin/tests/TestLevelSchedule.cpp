#include "Points.h"
#include "integrator/LevelSchedule.h"
#include "openmm/CustomExternalForce.h"
#include "openmm/NonbondedForce.h"
#include "openmm/OpenMMException.h"
#include <doctest/doctest.h>
#include <map>

using namespace KStep;
using namespace KStep::tests;

namespace {

/** One force in each of the groups. */
OpenMM::System makeSystemWithGroups(const std::vector<int> &groups) {
    OpenMM::System system = makeSystem(1);
    for (const int group : groups) {
        auto *force = new OpenMM::CustomExternalForce("x");
        force->addParticle(0);
        force->setForceGroup(group);
        system.addForce(force);
    }
    return system;
}

/** Two periods of common forces, three surrogates, k = 8. */
struct Levels {
    Levels() : system(makeSystemWithGroups({0, 4, 1, 2, 3, 31})), integrator(0.001, 8) {
        integrator.addCommonGroup(0, 1);
        integrator.addCommonGroup(4, 4);
        integrator.addSurrogateLevel(1, 1);
        integrator.addSurrogateLevel(2, 2);
        integrator.addSurrogateLevel(3, 8);
        integrator.setQMGroup(31);
    }
    LevelSchedule create() const { return LevelSchedule::create(integrator, system); }
    OpenMM::System system;
    KStepIntegrator integrator;
};

} // namespace

TEST_CASE("at each inner step the impulses of the levels of a region add up to one step of the lowest due") {
    const LevelSchedule schedule = Levels().create();
    const LevelSchedule::Table table = schedule.makeTable(8);
    REQUIRE(table.size() == 8);
    for (int step = 0; step < 8; step++) {
        int regionWeight = 0;
        std::map<int, int> common;
        for (const LevelSchedule::Due &due : table[step])
            (schedule.isCommon(due.slot) ? common[due.slot] : regionWeight) += due.weight;
        // Telescoping: n_0 - n_1 + n_1 - ... + k.
        CHECK(regionWeight == 1);
        for (int slot = 0; slot < schedule.getNumCommon(); slot++)
            CHECK(common[slot] ==
                  (step % schedule.getSlots()[slot].period == 0 ? schedule.getSlots()[slot].period : 0));
    }
}

TEST_CASE("the QM level acts once in an outer step, with all of it") {
    const LevelSchedule schedule = Levels().create();
    int weight = 0;
    for (const auto &row : schedule.makeTable(8))
        for (const LevelSchedule::Due &due : row)
            if (due.slot == schedule.getQMSlot())
                weight += due.weight;
    CHECK(weight == 8);
    for (const auto &row : schedule.makePlainTable(8))
        for (const LevelSchedule::Due &due : row)
            CHECK((due.weight == 1 && !schedule.isSurrogate(due.slot)));
}

TEST_CASE("a surrogate that is due whenever the next one is cancels out at the ends") {
    const LevelSchedule schedule = Levels().create();
    const int top = schedule.getTopSurrogate();
    // Period 8 = k: it is corrected wherever it acts, but is what the correction is measured against.
    CHECK(schedule.isNeededAtEnds(top));
    CHECK(schedule.isNeededAtEnds(top - 1));
    CHECK(schedule.isNeededAtEnds(schedule.getQMSlot()));
}

TEST_CASE("strokes of the thermostat fill the time, in the middle of the slowest common period") {
    for (const int period : {1, 2, 3, 4, 6, 12}) {
        CAPTURE(period);
        Levels levels;
        KStepIntegrator integrator(0.001, 12);
        integrator.addCommonGroup(0, 1);
        integrator.addCommonGroup(4, period);
        integrator.addSurrogateLevel(1, 1);
        integrator.addSurrogateLevel(2, 2);
        integrator.addSurrogateLevel(3, 4);
        integrator.setQMGroup(31);
        const LevelSchedule schedule = LevelSchedule::create(integrator, levels.system);
        double time = 0, shift = 0, meanPlace = 0;
        for (int step = 1; step <= 12; step++)
            if (const auto stroke = schedule.getStroke(step)) {
                time += stroke->duration;
                for (const auto &[slot, weight] : stroke->shifts) {
                    CHECK(slot == schedule.getSlowestCommon());
                    shift += weight;
                }
                meanPlace += stroke->duration * (step - 0.5);
            }
        CHECK(time == 12);
        CHECK(shift == 0);
        CHECK(meanPlace / time == 6);
    }
}

TEST_CASE("at every stroke the impulses of all common periods are shifted to where constant forces would have them") {
    const OpenMM::System system = makeSystemWithGroups({0, 4, 5, 6, 1, 31});
    KStepIntegrator integrator(0.001, 12);
    for (const auto &[group, period] : std::map<int, int>{{0, 1}, {4, 2}, {5, 3}, {6, 12}})
        integrator.addCommonGroup(group, period);
    integrator.addSurrogateLevel(1, 1);
    integrator.setQMGroup(31);
    const LevelSchedule schedule = LevelSchedule::create(integrator, system);
    const LevelSchedule::Table table = schedule.makeTable(12);
    int numStrokes = 0;
    for (int step = 1; step <= 12; step++) {
        const auto stroke = schedule.getStroke(step);
        if (!stroke)
            continue;
        numStrokes++;
        std::map<int, double> shifts;
        for (const auto &[slot, weight] : stroke->shifts)
            shifts[slot] = weight;
        for (int slot = 0; slot < schedule.getNumCommon(); slot++) {
            // Impulses counted one by one; that at the start is half of what row 0 names.
            double given = 0;
            for (int row = 0; row < step; row++)
                for (const LevelSchedule::Due &due : table[row])
                    if (due.slot == slot)
                        given += row == 0 ? 0.5 * due.weight : due.weight;
            CAPTURE(slot);
            CHECK(given - shifts[slot] == step - 0.5);
        }
    }
    CHECK(numStrokes == 2);
}

TEST_CASE("the reciprocal space of an Ewald sum is a group like others") {
    Levels levels;
    auto *force = new OpenMM::NonbondedForce();
    force->addParticle(1, 0.1, 0);
    force->setForceGroup(4);
    force->setReciprocalSpaceForceGroup(5);
    levels.system.addForce(force);
    SUBCASE("it has to be named") {
        force->setNonbondedMethod(OpenMM::NonbondedForce::PME);
        CHECK_THROWS_WITH(levels.create(), doctest::Contains("the reciprocal space of NonbondedForce"));
        levels.integrator.addCommonGroup(5, 8);
        const LevelSchedule schedule = levels.create();
        CHECK(schedule.getNumCommon() == 3);
        CHECK(schedule.getSlots()[schedule.getSlowestCommon()].groups == 1 << 5);
        CHECK(schedule.getSlots()[schedule.getSlowestCommon()].period == 8);
    }
    SUBCASE("there is none without an Ewald sum") {
        force->setNonbondedMethod(OpenMM::NonbondedForce::CutoffPeriodic);
        CHECK(levels.create().getNumCommon() == 2);
    }
}

TEST_CASE("groups that contradict each other or the System are refused") {
    const auto refuses = [](KStepIntegrator &integrator, const OpenMM::System &system) {
        CHECK_THROWS_AS(LevelSchedule::create(integrator, system), OpenMM::OpenMMException);
    };
    Levels levels;
    SUBCASE("two roles") {
        levels.integrator.addSurrogateLevel(4, 8);
        refuses(levels.integrator, levels.system);
    }
    SUBCASE("an empty group") {
        levels.integrator.addCommonGroup(17, 1);
        refuses(levels.integrator, levels.system);
    }
    SUBCASE("a force that belongs nowhere") {
        refuses(levels.integrator, makeSystemWithGroups({0, 4, 1, 2, 3, 5, 31}));
    }
    SUBCASE("a period that does not divide k") {
        levels.integrator.setK(6);
        refuses(levels.integrator, levels.system);
    }
    SUBCASE("k > 1 without a surrogate") {
        KStepIntegrator integrator(0.001, 2);
        integrator.setQMGroup(31);
        refuses(integrator, makeSystemWithGroups({0, 31}));
    }
    SUBCASE("a monitored particle that does not exist") {
        levels.integrator.setMonitoredParticles({1});
        refuses(levels.integrator, levels.system);
    }
}
