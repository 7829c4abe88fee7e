#ifndef OPENMMKSTEP_COMPILEDMODEL_H_
#define OPENMMKSTEP_COMPILEDMODEL_H_

#include "PotentialModel.h"
#include <memory>
#include <string>

namespace KStep {

class TorchScriptModel;

/** An archive compiled ahead of time for this machine and for one number of atoms (AOTInductor). */
class CompiledModel : public PotentialModel {
public:
    /**
     * @param package   file name of the package
     * @param original  the archive that it should have been made from
     * @param numAtoms  number of atoms
     *
     * @throws OpenMMException if the package cannot be loaded here, or does not give what the archive gives
     */
    CompiledModel(const std::string &package, TorchScriptModel &original, size_t numAtoms);
    ~CompiledModel() override;
    Result evaluate(const std::vector<OpenMM::Vec3> &positions, const std::vector<double> &potential,
                    int numThreads) override;

private:
    struct Loader;
    void compare(TorchScriptModel &original, size_t numAtoms);
    std::unique_ptr<Loader> loader;
    std::string package;
    bool takesPotential;
    size_t numOutputs;
};

} // namespace KStep

#endif
