#ifndef OPENMMKSTEP_SYSTEMDIGEST_H_
#define OPENMMKSTEP_SYSTEMDIGEST_H_

#include "openmm/System.h"
#include <cstdint>
#include <optional>

namespace KStep {

/**
 * A number that differs between Systems that differ in any particle, force or parameter (FNV-1a of their XML form, 64
 * bits: it tells apart what users changed, and is no protection against forgery).
 *
 * @return nothing for a System that has no XML form, such as one with a PythonForce of a local function
 */
std::optional<std::uint64_t> digestSystem(const OpenMM::System &system);

} // namespace KStep

#endif
