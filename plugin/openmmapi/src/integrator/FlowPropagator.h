#ifndef OPENMMKSTEP_FLOWPROPAGATOR_H_
#define OPENMMKSTEP_FLOWPROPAGATOR_H_

#include "Evaluator.h"
#include "LevelSchedule.h"
#include "Propagator.h"

namespace KStep {

/**
 * Inner steps of velocity Verlet, or of BAOAB with a friction, under the forces that a table names: reversible, and
 * symplectic without friction.
 */
class FlowPropagator : public Propagator {
public:
    /** @param table  its number of rows is the number of inner steps */
    FlowPropagator(const LevelSchedule::Table &table, const LevelSchedule &schedule, const KStepIntegrator &integrator,
                   OpenMM::ContextImpl &context, PropagationKernel &kernel, Evaluator &evaluator,
                   Statistics &statistics);
    std::vector<PropagationKernel::Impulse> getEndImpulses(int side) const override;
    bool isDeterministic() const override { return getBathFactor() == 0; }
    void propagate(int start) override;

private:
    /** The time for which friction and noise act in the next outer step, in units of its own; 0 if they do not. */
    int getBathFactor() const;
    /** Whether friction and noise are kept away from velocities that slow impulses have put off. */
    bool areShiftsNeeded() const;
    void advance(int innerStep);
    LevelSchedule::Table table;
    /** What the thermostat does in each inner step. */
    std::vector<std::optional<LevelSchedule::Stroke>> strokes;
    const LevelSchedule &schedule;
    const KStepIntegrator &integrator;
    OpenMM::ContextImpl &context;
    PropagationKernel &kernel;
    Evaluator &evaluator;
    Statistics &statistics;
    /** Whether impulses are given earlier than a constant force would give them: not in plain steps. */
    bool hasSlowForces = false;
    /** Of each common slot, the buffer of the forces that acted last. */
    std::vector<int> lastForces;
    /** The inner step at which kinetic energies are measured where there is no thermostat that does. */
    int middle;
};

} // namespace KStep

#endif
