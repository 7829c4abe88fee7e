#ifndef OPENMMKSTEP_STEPEND_H_
#define OPENMMKSTEP_STEPEND_H_

#include "openmmkstep/internal/PropagationKernel.h"
#include <optional>
#include <string>

namespace KStep {

/** What is known at an end of an outer step, besides the forces in the kernel's buffers. */
struct StepEnd {
    /** of common forces and QM level (kJ/mol) */
    double potentialEnergy = 0;
    /** of the QM level alone (kJ/mol) */
    double qmEnergy = 0;
    /** Of the best surrogate (kJ/mol); nothing if it was not asked for, or failed. */
    std::optional<double> surrogateEnergy;
    /** Of QM level and best surrogate; nothing if it was not measured: no surrogate, or one that failed here. */
    std::optional<PropagationKernel::Difference> correction;
    /** Why no step on all levels may start or end here; nothing if one may. */
    std::optional<std::string> rejection;
};

} // namespace KStep

#endif
