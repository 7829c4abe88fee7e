#ifndef OPENMMKSTEP_TORCHSCRIPTMODEL_H_
#define OPENMMKSTEP_TORCHSCRIPTMODEL_H_

#include "PotentialContract.h"
#include "PotentialModel.h"
#include <memory>
#include <string>
#include <vector>

namespace KStep {

/** A loaded archive. Types of torch stay behind it: its headers are slow to compile. */
class TorchScriptModel : public PotentialModel {
public:
    /** @throws OpenMMException if the archive cannot be read or its contract is refused */
    explicit TorchScriptModel(const std::string &archive);
    ~TorchScriptModel() override;
    const PotentialContract &getContract() const { return contract; }
    const std::string &getContractText() const { return contractText; }
    Result evaluate(const std::vector<OpenMM::Vec3> &positions, const std::vector<double> &potential,
                    int numThreads) override;
    /** Evaluate the model a few times, since torch optimises a module during its first calls. */
    void warmUp(size_t numAtoms, int numThreads);

private:
    struct Module;
    Result call(const std::vector<OpenMM::Vec3> &positions, const std::vector<double> &potential);
    std::unique_ptr<Module> module;
    std::string contractText;
    PotentialContract contract;
};

} // namespace KStep

#endif
