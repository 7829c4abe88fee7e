#ifndef OPENMMKSTEP_LOADEDARCHIVE_H_
#define OPENMMKSTEP_LOADEDARCHIVE_H_

#include <string>
#include <torch/script.h>

namespace KStep {

/**
 * The module in an archive, for evaluation on the CPU.
 *
 * @param archive   the content of the archive (not its name)
 * @param owner     the class that uses it, named in errors
 * @param contract  on return, the text of its contract
 *
 * @throws OpenMMException if the archive cannot be read or has no contract
 */
torch::jit::Module loadArchive(const std::string &archive, const std::string &owner, std::string &contract);

} // namespace KStep

#endif
