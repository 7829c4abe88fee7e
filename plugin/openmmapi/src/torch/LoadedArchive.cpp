#include "LoadedArchive.h"
#include "TorchCalls.h"
#include "openmm/OpenMMException.h"
#include <sstream>

using OpenMM::OpenMMException;

namespace KStep {

torch::jit::Module loadArchive(const std::string &archive, const std::string &owner, std::string &contract) {
    std::istringstream stream(archive);
    torch::jit::ExtraFilesMap files = {{"contract.json", ""}};
    torch::jit::Module module;
    try {
        module = torch::jit::load(stream, c10::Device(c10::kCPU), files);
    } catch (const std::exception &error) {
        throw OpenMMException(owner + ": this is not a TorchScript archive that can be loaded: " + plainMessage(error));
    }
    contract = files["contract.json"];
    if (contract.empty())
        throw OpenMMException(owner + ": the archive has no contract (an extra file contract.json that gives kind, "
                                      "units and elements); write it with `kstep export` or kstep_models.export");
    module.eval();
    return module;
}

} // namespace KStep
