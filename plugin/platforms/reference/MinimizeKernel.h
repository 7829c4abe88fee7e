#ifndef OPENMMKSTEP_MINIMIZEKERNEL_H_
#define OPENMMKSTEP_MINIMIZEKERNEL_H_

#include "openmm/Kernel.h"
#include "openmm/kernels.h"

namespace KStep {

/**
 * OpenMM's minimiser, told to QM levels: it begins with a step of 1 nm in all, which tears a small molecule apart, and
 * a geometry at which a calculation fails must not end it. Systems without a QM level are minimised as ever.
 */
class MinimizeKernel : public OpenMM::MinimizeKernel {
public:
    MinimizeKernel(const std::string &name, const OpenMM::Platform &platform, OpenMM::ContextImpl &context);
    void initialize(const OpenMM::System &system) override;
    /** @throws OpenMMException if it ends where the QM level fails */
    void execute(OpenMM::ContextImpl &context, double tolerance, int maxIterations,
                 OpenMM::MinimizationReporter *reporter) override;

private:
    OpenMM::Kernel original;
};

} // namespace KStep

#endif
