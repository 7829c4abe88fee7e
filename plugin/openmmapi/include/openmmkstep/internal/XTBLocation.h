#ifndef OPENMMKSTEP_XTBLOCATION_H_
#define OPENMMKSTEP_XTBLOCATION_H_

#include "openmmkstep/Export.h"
#include <string>

namespace KStep {

/**
 * Use another libxtb in this process than that of the Python package xtb.
 *
 * @param path  libxtb itself, or the folder that holds it
 * @throws OpenMMException if one is loaded already
 */
KSTEP_EXPORT void useXTBLibrary(const std::string &path);

} // namespace KStep

#endif
