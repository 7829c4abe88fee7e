#ifndef OPENMMKSTEP_BUILTINENGINES_H_
#define OPENMMKSTEP_BUILTINENGINES_H_

#include "openmmkstep/QMEngine.h"
#include <memory>
#include <string>

namespace KStep {

/** GFN2-xTB or GFN1-xTB ("gfn2-xtb", "gfn1-xtb") through libxtb. */
std::unique_ptr<QMEngine> createXTBEngine(const std::string &method, const std::string &settings);

/** The force field GFN-FF ("gfn-ff") through libxtb. */
std::unique_ptr<QMEngine> createGFNFFEngine(const std::string &settings);

/** A sum of analytic terms, for tests. */
std::unique_ptr<QMEngine> createAnalyticEngine(const std::string &settings);

} // namespace KStep

#endif
