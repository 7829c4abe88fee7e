#include "MinimizeKernel.h"
#include "openmm/LocalEnergyMinimizer.h"
#include "openmm/OpenMMException.h"
#include "openmm/internal/ContextImpl.h"
#include "openmm/internal/ForceImpl.h"
#include "openmm/reference/ReferenceKernelFactory.h"
#include "openmmkstep/internal/Interruption.h"
#include "openmmkstep/internal/QMLevelForce.h"
#include <cmath>
#include <map>

using OpenMM::ContextImpl;
using OpenMM::OpenMMException;
using OpenMM::Vec3;
using std::vector;

namespace KStep {

namespace {

/** Lets QM levels take failures for infinite energies while it exists. */
class TriedGeometries {
public:
    explicit TriedGeometries(ContextImpl &context) {
        for (OpenMM::ForceImpl *impl : context.getForceImpls())
            if (auto *level = dynamic_cast<QMLevelForce *>(impl)) {
                level->setTriesGeometries(true);
                levels.push_back(level);
            }
    }
    ~TriedGeometries() {
        for (QMLevelForce *level : levels)
            level->setTriesGeometries(false);
    }
    TriedGeometries(const TriedGeometries &) = delete;
    TriedGeometries &operator=(const TriedGeometries &) = delete;
    bool areThereLevels() const { return !levels.empty(); }
    /** Why the last calculation failed; empty if it did not. */
    std::string getLastFailure() const {
        for (const QMLevelForce *level : levels)
            if (!level->getLastFailure().empty())
                return level->getLastFailure();
        return "";
    }

private:
    vector<QMLevelForce *> levels;
};

/** Lets OpenMM minimise on other forces than those that the integrator's energy is of, while it exists. */
class OtherForceGroups {
public:
    OtherForceGroups(OpenMM::Integrator &integrator, int groups)
        : integrator(integrator), before(integrator.getIntegrationForceGroups()) {
        integrator.OpenMM::Integrator::setIntegrationForceGroups(groups);
    }
    ~OtherForceGroups() { integrator.OpenMM::Integrator::setIntegrationForceGroups(before); }
    OtherForceGroups(const OtherForceGroups &) = delete;
    OtherForceGroups &operator=(const OtherForceGroups &) = delete;

private:
    OpenMM::Integrator &integrator;
    int before;
};

/** Keeps the last geometry that a minimiser accepted: it may end at one that it only tried. */
class AcceptedGeometry : public OpenMM::MinimizationReporter {
public:
    AcceptedGeometry(const vector<Vec3> &start, OpenMM::MinimizationReporter *reporter)
        : positions(start), reporter(reporter) {}
    bool report(int iteration, const vector<double> &x, const vector<double> &gradient,
                std::map<std::string, double> &values) override {
        for (size_t i = 0; i < positions.size(); i++)
            positions[i] = Vec3(x[3 * i], x[3 * i + 1], x[3 * i + 2]);
        return reporter != nullptr && reporter->report(iteration, x, gradient, values);
    }
    const vector<Vec3> &getPositions() const { return positions; }

private:
    vector<Vec3> positions;
    OpenMM::MinimizationReporter *reporter;
};

double findEnergy(ContextImpl &context) {
    return context.calcForcesAndEnergy(true, true, context.getIntegrator().getIntegrationForceGroups());
}

void placeParticles(ContextImpl &context, const vector<Vec3> &positions) {
    context.setPositions(positions);
    context.applyConstraints(context.getIntegrator().getConstraintTolerance());
    context.computeVirtualSites();
}

vector<Vec3> findPositions(ContextImpl &context) {
    vector<Vec3> positions;
    context.getPositions(positions);
    return positions;
}

int findSurrogateGroups(const KStepIntegrator &integrator, int surrogateGroup) {
    return (integrator.getIntegrationForceGroups() & ~(1 << integrator.getQMGroup())) | (1 << surrogateGroup);
}

} // namespace

MinimizeKernel::MinimizeKernel(const std::string &name, const OpenMM::Platform &platform, ContextImpl &context)
    : OpenMM::MinimizeKernel(name, platform),
      original(OpenMM::ReferenceKernelFactory().createKernelImpl(name, platform, context)) {}

void MinimizeKernel::initialize(const OpenMM::System &system) {
    original.getAs<OpenMM::MinimizeKernel>().initialize(system);
}

void MinimizeKernel::execute(ContextImpl &context, double tolerance, int maxIterations,
                             OpenMM::MinimizationReporter *reporter) {
    if (!TriedGeometries(context).areThereLevels()) {
        original.getAs<OpenMM::MinimizeKernel>().execute(context, tolerance, maxIterations, reporter);
        return;
    }
    auto *integrator = dynamic_cast<KStepIntegrator *>(&context.getIntegrator());
    if (integrator != nullptr && !integrator->getSurrogateLevels().empty())
        minimizeSurrogates(context, *integrator, tolerance, maxIterations);
    minimize(context, tolerance, maxIterations, reporter);
}

/** Ends where the QM energy is lower than before, or where it began. */
void MinimizeKernel::minimizeSurrogates(ContextImpl &context, KStepIntegrator &integrator, double tolerance,
                                        int maxIterations) {
    const auto findQMEnergy = [&context] {
        const TriedGeometries tried(context);
        return findEnergy(context);
    };
    placeParticles(context, findPositions(context));
    const vector<Vec3> start = findPositions(context);
    const double before = findQMEnergy();
    for (const KStepIntegrator::Level &level : integrator.getSurrogateLevels()) {
        const OtherForceGroups groups(integrator, findSurrogateGroups(integrator, level.group));
        const vector<Vec3> below = findPositions(context);
        try {
            original.getAs<OpenMM::MinimizeKernel>().execute(context, tolerance, maxIterations, nullptr);
        } catch (const InterruptedException &) {
            throw;
        } catch (const std::exception &) {
            // A surrogate that is not defined here cannot help; the levels above it can.
            placeParticles(context, below);
        }
    }
    if (!(findQMEnergy() <= before))
        placeParticles(context, start);
}

void MinimizeKernel::minimize(ContextImpl &context, double tolerance, int maxIterations,
                              OpenMM::MinimizationReporter *reporter) {
    const TriedGeometries tried(context);
    AcceptedGeometry accepted(findPositions(context), reporter);
    original.getAs<OpenMM::MinimizeKernel>().execute(context, tolerance, maxIterations, &accepted);
    if (tried.getLastFailure().empty())
        return;
    const std::string failure = tried.getLastFailure();
    placeParticles(context, accepted.getPositions());
    if (!std::isfinite(findEnergy(context)))
        throw OpenMMException("The minimisation found no geometry at which the QM level can be calculated; begin with "
                              "the force field alone. The last failure: " +
                              failure);
}

} // namespace KStep
