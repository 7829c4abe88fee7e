#ifndef OPENMMKSTEP_REFERENCEPROPAGATIONKERNEL_H_
#define OPENMMKSTEP_REFERENCEPROPAGATIONKERNEL_H_

#include "openmm/reference/ReferencePlatform.h"
#include "openmmkstep/internal/PropagationKernel.h"
#include <random>

namespace KStep {

/** The operations of a outer step in double precision, for the Reference and CPU platforms. */
class ReferencePropagationKernel : public PropagationKernel {
public:
    ReferencePropagationKernel(const std::string &name, const OpenMM::Platform &platform,
                               OpenMM::ReferencePlatform::PlatformData &data)
        : PropagationKernel(name, platform), data(data) {}
    void initialize(const OpenMM::System &system, int numBuffers, int seed) override;
    void saveState(OpenMM::ContextImpl &context) override;
    void restoreState(OpenMM::ContextImpl &context) override;
    bool stateIsFinite(OpenMM::ContextImpl &context) override;
    bool positionsEqual(OpenMM::ContextImpl &context, const std::vector<OpenMM::Vec3> &positions) override;
    void clearImpulse(int buffer) override;
    void addForces(OpenMM::ContextImpl &context, int buffer, double weight) override;
    void kick(OpenMM::ContextImpl &context, int buffer, double scale, double tolerance) override;
    void drift(OpenMM::ContextImpl &context, double dt, double tolerance) override;
    double thermostat(OpenMM::ContextImpl &context, double decay, double temperature, double tolerance) override;
    double computeKineticEnergy(OpenMM::ContextImpl &context) override;
    Norm measure(int buffer, const std::vector<int> &particles) override;
    std::vector<OpenMM::Vec3> getImpulse(int buffer) override;
    void setImpulse(int buffer, const std::vector<OpenMM::Vec3> &impulse) override;
    void createCheckpoint(std::ostream &stream) const override;
    void loadCheckpoint(std::istream &stream) override;

private:
    void constrainVelocities(double tolerance);
    double nextGaussian();
    OpenMM::ReferencePlatform::PlatformData &data;
    bool hasConstraints = false;
    std::vector<double> masses, inverseMasses;
    std::vector<std::vector<OpenMM::Vec3>> impulses;
    std::vector<OpenMM::Vec3> savedPositions, savedVelocities, previousPositions, unconstrainedPositions;
    /** Noise: a generator with an exactly specified sequence, and the Box-Muller method, so that it can be restarted.
     */
    struct Noise {
        std::mt19937_64 generator;
        double spare = 0;
        bool hasSpare = false;
    } noise, savedNoise;
};

} // namespace KStep

#endif
