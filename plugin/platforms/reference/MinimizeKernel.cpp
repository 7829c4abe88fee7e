#include "MinimizeKernel.h"
#include "openmm/OpenMMException.h"
#include "openmm/internal/ContextImpl.h"
#include "openmm/internal/ForceImpl.h"
#include "openmm/reference/ReferenceKernelFactory.h"
#include "openmmkstep/internal/QMLevelForce.h"
#include <vector>

namespace KStep {

namespace {

/** Lets QM levels take failures for infinite energies while it exists. */
class TriedGeometries {
public:
    explicit TriedGeometries(OpenMM::ContextImpl &context) {
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
    void checkLast() const {
        for (const QMLevelForce *level : levels)
            if (!level->getLastFailure().empty())
                throw OpenMM::OpenMMException("The minimisation found no geometry at which the QM level can be "
                                              "calculated; begin with openmmkstep.minimize(), or with the force field. "
                                              "The last failure: " +
                                              level->getLastFailure());
    }

private:
    std::vector<QMLevelForce *> levels;
};

} // namespace

MinimizeKernel::MinimizeKernel(const std::string &name, const OpenMM::Platform &platform, OpenMM::ContextImpl &context)
    : OpenMM::MinimizeKernel(name, platform),
      original(OpenMM::ReferenceKernelFactory().createKernelImpl(name, platform, context)) {}

void MinimizeKernel::initialize(const OpenMM::System &system) {
    original.getAs<OpenMM::MinimizeKernel>().initialize(system);
}

void MinimizeKernel::execute(OpenMM::ContextImpl &context, double tolerance, int maxIterations,
                             OpenMM::MinimizationReporter *reporter) {
    const TriedGeometries tried(context);
    original.getAs<OpenMM::MinimizeKernel>().execute(context, tolerance, maxIterations, reporter);
    tried.checkLast();
}

} // namespace KStep
