#include "Points.h"
#include "openmm/Context.h"
#include "openmm/OpenMMException.h"
#include "openmm/Platform.h"
#include "openmm/VerletIntegrator.h"
#include "openmmkstep/KStepIntegrator.h"
#include "openmmkstep/QMEngine.h"
#include "openmmkstep/QMMMForce.h"
#include <algorithm>
#include <doctest/doctest.h>

using namespace KStep;
using namespace KStep::tests;

namespace {

/** An engine as other people would write it: E = 100 (|x_0 - x_1| - 0.2)^2. */
class SpringEngine : public QMEngine {
public:
    void initialize(const QMMolecule &molecule) override { numAtoms = molecule.atomicNumbers.size(); }
    void compute(const QMInput &input, QMOutput &output) override {
        const Vec3 delta = input.positions[0] - input.positions[1];
        const double length = std::sqrt(delta.dot(delta));
        output.energy = 100 * (length - 0.2) * (length - 0.2);
        output.gradient.assign(numAtoms, Vec3());
        output.gradient[0] = delta * (200 * (length - 0.2) / length);
        output.gradient[1] = output.gradient[0] * -1.0;
        output.atomicCharges.assign(numAtoms, 0);
    }
    void reset() override {}

private:
    size_t numAtoms = 0;
};

} // namespace

TEST_CASE("an engine that is registered from outside the library drives a KStepIntegrator") {
    QMEngineRegistry::registerEngine("spring", [](const std::string &) { return std::make_unique<SpringEngine>(); });
    const std::vector<std::string> names = QMEngineRegistry::getEngineNames();
    CHECK(std::count(names.begin(), names.end(), "spring") == 1);

    OpenMM::Platform::loadPluginLibrary(PLUGIN_FOLDER "/libOpenMMKStepReference.so");
    QMRegion region;
    region.addAtom(0, 1);
    region.addAtom(1, 1);
    OpenMM::System system = makeSystem(2);
    auto *force = new QMMMForce(region, "spring");
    force->setForceGroup(31);
    system.addForce(force);
    KStepIntegrator integrator(0.001, 1);
    integrator.setQMGroup(31);
    OpenMM::Context context(system, integrator, OpenMM::Platform::getPlatformByName("Reference"));
    context.setPositions({Vec3(0, 0, 0), Vec3(0.3, 0, 0)});
    context.setVelocities({Vec3(), Vec3()});
    integrator.step(1000);
    // Half the relative mass oscillates with the frequency sqrt(400).
    const double expected = 0.2 + 0.1 * std::cos(std::sqrt(400.0) * 1.0);
    const auto positions = context.getState(OpenMM::State::Positions).getPositions();
    CHECK(positions[1][0] - positions[0][0] == doctest::Approx(expected).epsilon(1e-3));
    CHECK(integrator.getStatistics().qmCalls == 1001);
    CHECK(force->getNumCalls(context) == 1001);
}

TEST_CASE("an engine that does not exist is named, with those that do") {
    CHECK_THROWS_WITH_AS(QMEngineRegistry::createEngine("gfn3-xtb", ""), doctest::Contains("gfn2-xtb"),
                         OpenMM::OpenMMException);
    CHECK_THROWS_WITH_AS(QMEngineRegistry::createEngine("gfn2-xtb", R"({"acuracy": 1})"), doctest::Contains("acuracy"),
                         OpenMM::OpenMMException);
}
