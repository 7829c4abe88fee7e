#include "Points.h"
#include "integrator/SystemDigest.h"
#include "openmm/CustomExternalForce.h"
#include "openmm/Force.h"
#include <cmath>
#include <doctest/doctest.h>

using namespace KStep;
using namespace KStep::tests;

namespace {

OpenMM::System systemOf(double x0, int group = 0) {
    OpenMM::System system = makeSystem(2);
    auto *force = new OpenMM::CustomExternalForce("(x-x0)^2");
    force->addPerParticleParameter("x0");
    force->addParticle(1, {x0});
    force->setForceGroup(group);
    system.addForce(force);
    return system;
}

/** A force of somebody's own that knows no files. */
class ForceWithoutFile : public OpenMM::Force {
public:
    bool usesPeriodicBoundaryConditions() const override { return false; }

protected:
    OpenMM::ForceImpl *createImpl() const override { return nullptr; }
};

} // namespace

TEST_CASE("Systems have the same digest if they are the same to the last bit, and only then") {
    const auto digest = digestSystem(systemOf(0.1));
    REQUIRE(digest.has_value());
    CHECK(digest == digestSystem(systemOf(0.1)));
    CHECK(digest != digestSystem(systemOf(std::nextafter(0.1, 1))));
    CHECK(digest != digestSystem(systemOf(0.1, 1)));
    OpenMM::System heavier = systemOf(0.1);
    heavier.setParticleMass(0, 2);
    CHECK(digest != digestSystem(heavier));
    OpenMM::System more = systemOf(0.1);
    more.addForce(new OpenMM::CustomExternalForce("x"));
    CHECK(digest != digestSystem(more));
}

TEST_CASE("a System that cannot be written has no digest") {
    OpenMM::System system = systemOf(0.1);
    system.addForce(new ForceWithoutFile());
    CHECK(!digestSystem(system).has_value());
}
