#ifndef OPENMMKSTEP_REFERENCEPROPAGATIONKERNEL_H_
#define OPENMMKSTEP_REFERENCEPROPAGATIONKERNEL_H_

#include "GaussianNoise.h"
#include "openmm/reference/ReferencePlatform.h"
#include "openmmkstep/internal/PropagationKernel.h"

namespace KStep {

/** The operations of an outer step in double precision, for the Reference and CPU platforms. */
class ReferencePropagationKernel : public PropagationKernel {
public:
    ReferencePropagationKernel(const std::string &name, const OpenMM::Platform &platform,
                               OpenMM::ReferencePlatform::PlatformData &data)
        : PropagationKernel(name, platform), data(data) {}
    void initialize(const OpenMM::System &system, int numBuffers, const std::vector<int> &region, int seed) override;
    void mark(OpenMM::ContextImpl &context) override;
    bool isAtMark(OpenMM::ContextImpl &context) override;
    bool velocitiesAreAtMark(OpenMM::ContextImpl &context) override;
    Comparison beginStep(OpenMM::ContextImpl &context) override;
    void restoreState(OpenMM::ContextImpl &context, Noise noise) override;
    void reverseVelocities(OpenMM::ContextImpl &context) override;
    Summary finishStep(OpenMM::ContextImpl &context, int first, int second) override;
    Difference compareForces(OpenMM::ContextImpl &context, int first, int second) override;
    void storeForces(OpenMM::ContextImpl &context, int buffer) override;
    void kick(OpenMM::ContextImpl &context, const std::vector<Impulse> &impulses) override;
    void kickWithForces(OpenMM::ContextImpl &context, double weight) override;
    void tallyKick(OpenMM::ContextImpl &context, const std::vector<Impulse> &impulses, bool isGiven,
                   double tolerance) override;
    void constrainVelocities(OpenMM::ContextImpl &context, double tolerance) override;
    void drift(OpenMM::ContextImpl &context, double dt, double tolerance) override;
    void thermostat(OpenMM::ContextImpl &context, double decay, double temperature,
                    const std::vector<Impulse> &impulses, double tolerance) override;
    void measureMiddle(OpenMM::ContextImpl &context) override;
    double computeKineticEnergy(OpenMM::ContextImpl &context) override;
    std::vector<OpenMM::Vec3> getForces(int buffer) override;
    void setForces(int buffer, const std::vector<OpenMM::Vec3> &forces) override;
    void createCheckpoint(std::ostream &stream) const override;
    void loadCheckpoint(std::istream &stream) override;

private:
    bool hasConstraints() const { return !constrained.empty(); }
    /** sums = sum of weight * buffer / m */
    void sumImpulses(const std::vector<Impulse> &impulses, std::vector<OpenMM::Vec3> &sums) const;
    double measureKineticEnergies(OpenMM::ContextImpl &context);
    OpenMM::ReferencePlatform::PlatformData &data;
    /** Of particles without mass, which never move, the inverse mass is 0. */
    std::vector<double> masses, inverseMasses, inverseRootMasses;
    std::vector<int> region, constrained;
    std::vector<std::vector<OpenMM::Vec3>> buffers;
    std::vector<OpenMM::Vec3> markedPositions, markedVelocities, savedVelocities, previousPositions, kicks, shifts;
    GaussianNoise noise, savedNoise;
    /** Collected since beginStep(). */
    Summary summary;
    double middleKineticEnergy = 0, middleRegionKineticEnergy = 0;
    int numMiddles = 0;
};

} // namespace KStep

#endif
