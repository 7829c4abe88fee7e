#ifndef OPENMMKSTEP_PROPAGATION_H_
#define OPENMMKSTEP_PROPAGATION_H_

#include "Ladder.h"
#include "openmm/internal/ContextImpl.h"
#include "openmmkstep/KStepIntegrator.h"
#include "openmmkstep/internal/PropagationKernel.h"
#include <array>
#include <chrono>
#include <map>

namespace KStep {

/**
 * The course of a outer step: which forces are evaluated when, the guard, the fallback and the accounts. It works
 * through ContextImpl and PropagationKernel only, so it is the same on every platform.
 */
class KStepIntegrator::Propagation {
public:
    static constexpr int numBuffers = 6;
    Propagation(const KStepIntegrator &integrator, OpenMM::ContextImpl &context, PropagationKernel &kernel,
                const Ladder &ladder);
    void step();
    /** Forget the forces at the current positions. */
    void invalidate() { boundaryIsValid = false; }
    /** Compare the state with that of the stored forces before they are used again. */
    void stateMayHaveChanged() { mustCompare = true; }
    const KStepStatistics &getStatistics() const { return statistics; }
    void createCheckpoint(std::ostream &stream) const;
    void loadCheckpoint(std::istream &stream);

private:
    using Clock = std::chrono::steady_clock;
    /** What is known at the end of a outer step, besides the impulses in the kernel's buffers. */
    struct Boundary {
        double potentialEnergy = 0;
        double correctionRMS = 0, maxCorrection = 0;
        /** Why no ladder step may start or end here; empty if it may. */
        std::string obstacle;
    };
    /** The two boundary buffers swap roles when a outer step is accepted. */
    int ladderBuffer(int side) const { return side; }
    int plainBuffer(int side) const { return 2 + side; }
    static constexpr int interiorBuffer = 4, correctionBuffer = 5;

    double evaluate(int groups, bool includeEnergy, double &time);
    void evaluateInterior(int innerStep);
    void evaluatePlain();
    /** Forces of all levels at the current positions. With stopAtObstacle the QM call is spared if a surrogate fails.
     */
    Boundary evaluateBoundary(int side, bool stopAtObstacle);
    /** One inner step between kicks: drift, or drift - thermostat - drift. Returns the heat taken up. */
    double advance();
    bool boundaryMatchesContext();
    void rememberBoundary();
    /** k inner steps on the ladder. Returns why they must be redone, or an empty string. */
    std::string takeLadderStep(Boundary &end, double &heat);
    void takePlainSteps(Boundary &end, double &heat);
    void requireFiniteStart();
    void account(const Boundary &end, double startEnergy, double heat, bool fellBack);

    const KStepIntegrator &integrator;
    OpenMM::ContextImpl &context;
    PropagationKernel &kernel;
    Ladder ladder;
    std::vector<int> monitoredParticles;
    KStepStatistics statistics;
    double sumOfCorrectionRMS = 0;

    bool boundaryIsValid = false, mustCompare = true;
    int current = 0;
    Boundary boundary;
    std::vector<OpenMM::Vec3> boundaryPositions;
    std::array<OpenMM::Vec3, 3> boundaryBox;
    std::map<std::string, double> boundaryParameters;
};

} // namespace KStep

#endif
