#ifndef OPENMMKSTEP_ACCEPTANCE_H_
#define OPENMMKSTEP_ACCEPTANCE_H_

#include "StepEnd.h"
#include "openmmkstep/KStepIntegrator.h"
#include <cstdint>
#include <optional>
#include <vector>

namespace KStep {

/**
 * Whether an outer step is accepted, and whether velocities turn round if not.
 *
 * Accepting leads from state z to Lz with the probability a(z) = min(1, exp(-error(z)/kT)) = 1 - r(z); after a
 * rejection velocities turn round, to Rz, with probability f(z), and else z stays. L is undone by its reverse, L(R L z)
 * = R z, and error(R L z) = -error(z). So what flows into z is, in units of its weight, a(Rz) from the state that leads
 * there, r(z) - f(z) from z itself and f(Rz) from Rz. Their sum is 1, and the distribution stays as it is, if
 *
 *     f(z) - f(Rz) = r(z) - r(Rz).
 *
 * f = r always does that, and f(z) = max(0, r(z) - r(Rz)) = max(0, a(Rz) - a(z)) turns round least (Sohl-Dickstein,
 * arXiv:1205.1939; Wagoner and Pande, J. Chem. Phys. 137, 214105 (2012)). The error of the step from Rz is known,
 * without taking it, if z was reached by a step of the same L: accepted, from the state it leads back to, or rejected,
 * from Rz or from z itself. With noise there is no such L. Which of both is taken may depend on what happened, but not
 * on which of z and Rz it happened to: after a step without noise the error is known in any case.
 */
class Acceptance {
public:
    enum class Verdict { Accepted, Stayed, Flipped };
    /** @param seed  of the decisions, 0 for a new one */
    explicit Acceptance(int seed);
    /** min(1, exp(-error / kT)) */
    static double findProbability(double error, double kT);
    /**
     * @param error            of the step, finite, or infinite for one that must not be accepted (kJ/mol)
     * @param kT               in kJ/mol
     * @param isDeterministic  whether the step had no noise
     * @param reducesFlips     whether velocities turn round only as often as balance needs, where that is known
     */
    Verdict decide(double error, double kT, bool isDeterministic, bool reducesFlips);
    /** The next step does not start where the last one ended. */
    void forget() { reverseError.reset(); }
    /** Forget if the settings that make the map differ from those at the last call. */
    void checkSettings(const KStepIntegrator &integrator);
    /** Call archive(value) for everything that a checkpoint must hold. */
    template <class Archive> void visit(Archive &archive) {
        archive(state);
        archive(reverseError);
        archive(settings);
    }

private:
    /** In [0, 1). */
    double drawUniform();
    std::uint64_t state;
    /** Error of the step that would start from the present state with velocities reversed, if it is known. */
    std::optional<double> reverseError;
    std::vector<double> settings;
};

} // namespace KStep

#endif
