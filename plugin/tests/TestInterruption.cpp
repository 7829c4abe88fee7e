#include "Points.h"
#include "openmm/Context.h"
#include "openmm/CustomExternalForce.h"
#include "openmm/LocalEnergyMinimizer.h"
#include "openmm/Platform.h"
#include "openmmkstep/KStepIntegrator.h"
#include "openmmkstep/internal/Interruption.h"
#include <doctest/doctest.h>

using namespace KStep;
using namespace KStep::tests;

namespace {

/** A user who wants to stop when asked for the n-th time. */
class User : public Interruption::Listener {
public:
    User(int patience, bool raises) : patience(patience), raises(raises) {}
    void begin() override { depth++; }
    void end() override { depth--; }
    bool isRequested() override {
        CHECK(depth > 0);
        return --patience < 0;
    }
    bool isRaisedAtReturn() override { return raises; }
    int depth = 0;

private:
    int patience;
    bool raises;
};

struct Oscillator {
    Oscillator() : system(makeSystem(1)), integrator(0.001, 2) {
        OpenMM::Platform::loadPluginLibrary(PLUGIN_FOLDER "/libOpenMMKStepReference.so");
        for (const int group : {1, 2}) {
            auto *force = new OpenMM::CustomExternalForce("50*x^2");
            force->addParticle(0);
            force->setForceGroup(group);
            system.addForce(force);
        }
        context =
            std::make_unique<OpenMM::Context>(system, integrator, OpenMM::Platform::getPlatformByName("Reference"));
        context->setPositions({Vec3(0.1, 0, 0)});
        context->setVelocities({Vec3()});
    }
    OpenMM::System system;
    KStepIntegrator integrator;
    std::unique_ptr<OpenMM::Context> context;
};

struct Listening {
    explicit Listening(const std::shared_ptr<User> &user) { Interruption::setListener(user); }
    ~Listening() { Interruption::setListener(nullptr); }
};

} // namespace

TEST_CASE("steps end when the user wants it: with an exception, or where another language has one of its own") {
    for (const bool raises : {false, true}) {
        Oscillator oscillator;
        auto user = std::make_shared<User>(5, raises);
        const Listening listening(user);
        if (raises)
            oscillator.integrator.step(1000);
        else
            CHECK_THROWS_AS(oscillator.integrator.step(1000), InterruptedException);
        CHECK(oscillator.context->getStepCount() == 5);
        CHECK(oscillator.integrator.getStatistics().fallbacks == 0);
        CHECK(user->depth == 0);
    }
}

TEST_CASE("a minimiser leaves the best geometry when the user wants it to end") {
    for (const bool raises : {false, true}) {
        Oscillator oscillator;
        auto user = std::make_shared<User>(1, raises);
        const Listening listening(user);
        if (raises)
            OpenMM::LocalEnergyMinimizer::minimize(*oscillator.context, 1e-9);
        else
            CHECK_THROWS_AS(OpenMM::LocalEnergyMinimizer::minimize(*oscillator.context, 1e-9), InterruptedException);
        CHECK(user->depth == 0);
        const auto positions = oscillator.context->getState(OpenMM::State::Positions).getPositions();
        CHECK(std::abs(positions[0][0]) <= 0.1);
        CHECK(oscillator.integrator.getIntegrationForceGroups() == 0b101);
    }
}

TEST_CASE("without a listener nothing is asked") {
    Oscillator oscillator;
    CHECK(!Interruption::isRequested());
    oscillator.integrator.step(3);
    OpenMM::LocalEnergyMinimizer::minimize(*oscillator.context);
    CHECK(oscillator.context->getStepCount() == 3);
}
