#ifndef OPENMMKSTEP_MINIMIZEKERNEL_H_
#define OPENMMKSTEP_MINIMIZEKERNEL_H_

#include "openmm/Kernel.h"
#include "openmm/Vec3.h"
#include "openmm/kernels.h"
#include "openmmkstep/KStepIntegrator.h"
#include <vector>

namespace KStep {

/**
 * OpenMM's minimiser for Systems with a QM level. It differs in what it does with QM calls:
 *
 * - Under a KStepIntegrator with surrogates it minimises on them first, the cheapest first, and then on the QM level,
 *   from where they have come to or, if that is higher in energy, from where it was. `maxIterations` counts for each
 *   level by itself; a reporter sees the last.
 * - It begins with a guess of 1 nm, which tears a small molecule apart. A geometry at which a calculation fails, or at
 *   which a QM atom has moved too far, is one from which the line search steps back.
 * - It never ends higher in energy than it began, and leaves the best geometry behind if it fails or the user
 *   interrupts it.
 *
 * Systems without a QM level are minimised as ever.
 */
class MinimizeKernel : public OpenMM::MinimizeKernel {
public:
    MinimizeKernel(const std::string &name, const OpenMM::Platform &platform, OpenMM::ContextImpl &context);
    void initialize(const OpenMM::System &system) override;
    /** @throws OpenMMException if it finds no geometry at which the QM level can be calculated */
    void execute(OpenMM::ContextImpl &context, double tolerance, int maxIterations,
                 OpenMM::MinimizationReporter *reporter) override;

private:
    void minimizeSurrogates(OpenMM::ContextImpl &context, KStepIntegrator &integrator,
                            const std::vector<KStepIntegrator::Level> &levels, double tolerance, int maxIterations);
    void minimize(OpenMM::ContextImpl &context, double tolerance, int maxIterations,
                  OpenMM::MinimizationReporter *reporter);

    double findEnergy(OpenMM::ContextImpl &context);
    bool keepIfBetter(OpenMM::ContextImpl &context);

    OpenMM::Kernel original;
    /** The geometry of lowest energy so far, and that energy; infinite if it cannot be calculated. */
    std::vector<OpenMM::Vec3> best;
    double bestEnergy = 0;
    /** Why the energy cannot be calculated at the best geometry; empty if it can. */
    std::string lastFailure;
};

} // namespace KStep

#endif
