#ifndef OPENMMKSTEP_PROPAGATIONKERNEL_H_
#define OPENMMKSTEP_PROPAGATIONKERNEL_H_

#include "openmm/KernelImpl.h"
#include "openmm/System.h"
#include "openmmkstep/Export.h"
#include <iosfwd>
#include <string>
#include <vector>

namespace OpenMM {
class ContextImpl;
}

namespace KStep {

/**
 * The elementary operations on a platform's positions, velocities and forces of which a outer step is made. Which
 * operation comes when is decided by the integrator; a platform only carries them out.
 *
 * Impulses are force sums, kept by the kernel in numbered buffers.
 */
class PropagationKernel : public OpenMM::KernelImpl {
public:
    static std::string Name() { return "KStepPropagation"; }
    PropagationKernel(const std::string &name, const OpenMM::Platform &platform) : KernelImpl(name, platform) {}

    struct Norm {
        double sumOfSquares, maxNorm;
    };

    /** @param numBuffers  impulse buffers needed;  @param seed  seed of the noise, 0 for a new one */
    virtual void initialize(const OpenMM::System &system, int numBuffers, int seed) = 0;
    /** Remember positions, velocities and the state of the random numbers. */
    virtual void saveState(OpenMM::ContextImpl &context) = 0;
    /** Return to what saveState() remembered. */
    virtual void restoreState(OpenMM::ContextImpl &context) = 0;
    /** Whether every position and velocity is finite. */
    virtual bool stateIsFinite(OpenMM::ContextImpl &context) = 0;
    /** Whether the positions are, to the last bit, those given. */
    virtual bool positionsEqual(OpenMM::ContextImpl &context, const std::vector<OpenMM::Vec3> &positions) = 0;
    virtual void clearImpulse(int buffer) = 0;
    /** buffer += weight * (the forces that the platform computed last) */
    virtual void addForces(OpenMM::ContextImpl &context, int buffer, double weight) = 0;
    /** v += scale * buffer / m, then velocities are made consistent with the constraints. */
    virtual void kick(OpenMM::ContextImpl &context, int buffer, double scale, double tolerance) = 0;
    /** x += dt * v under the constraints (which also change v), then virtual sites are placed. */
    virtual void drift(OpenMM::ContextImpl &context, double dt, double tolerance) = 0;
    /**
     * v = decay * v + sqrt(kT (1 - decay^2) / m) * noise, then velocities are made consistent with the constraints.
     *
     * @return the change of the kinetic energy, that is, the heat taken up (kJ/mol)
     */
    virtual double thermostat(OpenMM::ContextImpl &context, double decay, double temperature, double tolerance) = 0;
    virtual double computeKineticEnergy(OpenMM::ContextImpl &context) = 0;
    /** Sum of squares and largest vector of a buffer over the particles given. NaN if any of them is not finite. */
    virtual Norm measure(int buffer, const std::vector<int> &particles) = 0;
    virtual std::vector<OpenMM::Vec3> getImpulse(int buffer) = 0;
    virtual void setImpulse(int buffer, const std::vector<OpenMM::Vec3> &impulse) = 0;
    virtual void createCheckpoint(std::ostream &stream) const = 0;
    virtual void loadCheckpoint(std::istream &stream) = 0;
};

} // namespace KStep

#endif
