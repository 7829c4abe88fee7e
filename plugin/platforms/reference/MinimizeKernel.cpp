#include "MinimizeKernel.h"
#include "openmm/CompoundIntegrator.h"
#include "openmm/LocalEnergyMinimizer.h"
#include "openmm/OpenMMException.h"
#include "openmm/internal/ContextImpl.h"
#include "openmm/internal/ForceImpl.h"
#include "openmm/reference/ReferenceKernelFactory.h"
#include "openmmkstep/internal/Interruption.h"
#include "openmmkstep/internal/QMLevelForce.h"
#include <cmath>
#include <limits>
#include <map>

using OpenMM::ContextImpl;
using OpenMM::OpenMMException;
using OpenMM::Vec3;
using std::vector;

namespace KStep {

namespace {

/** Lets the QM calculations of some force groups take failures for infinite energies while it exists. */
class TriedGeometries {
public:
    TriedGeometries(ContextImpl &context, int groups) {
        for (OpenMM::ForceImpl *impl : context.getForceImpls()) {
            auto *level = dynamic_cast<QMLevelForce *>(impl);
            if (level != nullptr && (groups & (1 << impl->getOwner().getForceGroup())) != 0) {
                level->setTriesGeometries(true);
                levels.push_back(level);
            }
        }
    }
    ~TriedGeometries() {
        for (QMLevelForce *level : levels)
            level->setTriesGeometries(false);
    }
    TriedGeometries(const TriedGeometries &) = delete;
    TriedGeometries &operator=(const TriedGeometries &) = delete;
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
        if (Interruption::isRequested())
            throw InterruptedException();
        if (reporter == nullptr)
            return false;
        isReporting = true; // and stays so if it throws
        const bool doStop = reporter->report(iteration, x, gradient, values);
        isReporting = false;
        return doStop;
    }
    const vector<Vec3> &getPositions() const { return positions; }
    bool hasReporterFailed() const { return isReporting; }

private:
    vector<Vec3> positions;
    OpenMM::MinimizationReporter *reporter;
    bool isReporting = false;
};

bool hasQMLevel(ContextImpl &context) {
    for (OpenMM::ForceImpl *impl : context.getForceImpls())
        if (dynamic_cast<QMLevelForce *>(impl) != nullptr)
            return true;
    return false;
}

/** The integrator of which one may ask for levels; nothing if there is none, or another one has its turn. */
KStepIntegrator *findKStepIntegrator(OpenMM::Integrator &integrator) {
    if (auto *compound = dynamic_cast<OpenMM::CompoundIntegrator *>(&integrator))
        return findKStepIntegrator(compound->getIntegrator(compound->getCurrentIntegrator()));
    return dynamic_cast<KStepIntegrator *>(&integrator);
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

/** An exception that is being handled: thrown again if it is the user who has had enough. */
void rethrowInterruption() {
    if (Interruption::isRequested())
        throw InterruptedException();
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
    KStepIntegrator *integrator = findKStepIntegrator(context.getIntegrator());
    vector<KStepIntegrator::Level> surrogates;
    if (integrator != nullptr)
        surrogates = integrator->findSurrogateLevels(context.getSystem());
    if (surrogates.empty() && !hasQMLevel(context)) {
        original.getAs<OpenMM::MinimizeKernel>().execute(context, tolerance, maxIterations, reporter);
        return;
    }
    const Interruption::Watch watch;
    lastFailure.clear();
    placeParticles(context, findPositions(context));
    best = findPositions(context);
    try {
        bestEnergy = findEnergy(context);
        if (!surrogates.empty())
            minimizeSurrogates(context, *integrator, surrogates, tolerance, maxIterations);
        minimize(context, tolerance, maxIterations, reporter);
    } catch (const InterruptedException &) {
        placeParticles(context, best);
        if (!Interruption::isRaisedAtReturn())
            throw;
    } catch (...) {
        placeParticles(context, best);
        throw;
    }
}

/** The energy of the Hamiltonian at the present positions; infinite if it cannot be calculated. */
double MinimizeKernel::findEnergy(ContextImpl &context) {
    const int groups = context.getIntegrator().getIntegrationForceGroups();
    const TriedGeometries tried(context, groups);
    double energy = std::numeric_limits<double>::infinity();
    try {
        energy = context.calcForcesAndEnergy(true, true, groups);
        lastFailure = tried.getLastFailure();
    } catch (const InterruptedException &) {
        throw;
    } catch (const std::exception &error) {
        rethrowInterruption();
        lastFailure = error.what();
    }
    return std::isnan(energy) ? std::numeric_limits<double>::infinity() : energy;
}

/** Ends where the energy of the Hamiltonian is lower than before, or where it began. */
void MinimizeKernel::minimizeSurrogates(ContextImpl &context, KStepIntegrator &integrator,
                                        const vector<KStepIntegrator::Level> &levels, double tolerance,
                                        int maxIterations) {
    for (const KStepIntegrator::Level &level : levels) {
        const int groups = findSurrogateGroups(integrator, level.group);
        const OtherForceGroups others(integrator, groups);
        const TriedGeometries tried(context, groups);
        const vector<Vec3> below = findPositions(context);
        AcceptedGeometry accepted(below, nullptr);
        try {
            original.getAs<OpenMM::MinimizeKernel>().execute(context, tolerance, maxIterations, &accepted);
            if (!tried.getLastFailure().empty())
                placeParticles(context, accepted.getPositions());
        } catch (const InterruptedException &) {
            // Nothing is known of what the Hamiltonian says here; where it says nothing, this is better.
            if (!std::isfinite(bestEnergy))
                best = accepted.getPositions();
            throw;
        } catch (const std::exception &) {
            rethrowInterruption();
            // A surrogate that is not defined here cannot help; the levels above it can.
            placeParticles(context, below);
        }
    }
    keepIfBetter(context);
}

void MinimizeKernel::minimize(ContextImpl &context, double tolerance, int maxIterations,
                              OpenMM::MinimizationReporter *reporter) {
    // Asked again, which costs nothing where it was the last geometry: a calculation that failed in between, as where a
    // surrogate ended, may have spoiled what this one began from, and OpenMM's minimiser makes NaN of such a start.
    findEnergy(context);
    if (!lastFailure.empty())
        throw OpenMMException("The minimisation has no geometry at which the QM level can be calculated; begin with "
                              "the force field alone. The last failure: " +
                              lastFailure);
    const TriedGeometries tried(context, context.getIntegrator().getIntegrationForceGroups());
    AcceptedGeometry accepted(best, reporter);
    try {
        original.getAs<OpenMM::MinimizeKernel>().execute(context, tolerance, maxIterations, &accepted);
    } catch (...) {
        // It is lower than where it began.
        best = accepted.getPositions();
        if (!accepted.hasReporterFailed())
            rethrowInterruption();
        throw;
    }
    // A search that could not go further ends at a geometry that it only tried.
    if (!keepIfBetter(context)) {
        placeParticles(context, accepted.getPositions());
        keepIfBetter(context);
    }
}

/** Take the present geometry for the best if its energy is not higher, else return to that. */
bool MinimizeKernel::keepIfBetter(ContextImpl &context) {
    const std::string before = lastFailure;
    const double energy = findEnergy(context);
    if (energy <= bestEnergy && std::isfinite(energy)) {
        best = findPositions(context);
        bestEnergy = energy;
        return true;
    }
    lastFailure = before;
    placeParticles(context, best);
    return false;
}

} // namespace KStep
