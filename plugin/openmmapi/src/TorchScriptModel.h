#ifndef OPENMMKSTEP_TORCHSCRIPTMODEL_H_
#define OPENMMKSTEP_TORCHSCRIPTMODEL_H_

#include "ModelContract.h"
#include "openmm/Vec3.h"
#include <memory>
#include <string>
#include <vector>

namespace KStep {

/** A loaded archive. Types of torch stay behind it: its headers are slow to compile. */
class TorchScriptModel {
public:
    struct Result {
        double energy = 0;
        std::vector<OpenMM::Vec3> forces;
        /** dE/dpotential at each atom, or empty */
        std::vector<double> charges;
    };
    /** Throws an OpenMMException if the archive cannot be read or its contract is refused. */
    explicit TorchScriptModel(const std::string &archive);
    ~TorchScriptModel();
    const ModelContract &getContract() const { return contract; }
    const std::string &getContractText() const { return contractText; }
    /**
     * Evaluate the model.
     *
     * @param positions   positions of its atoms (nm)
     * @param potential   electrostatic potential at each (kJ/mol/e); ignored if the model takes none
     * @param numThreads  threads that torch may use
     *
     * Throws an OpenMMException if the module fails, or returns something of another shape or that is not finite.
     */
    Result evaluate(const std::vector<OpenMM::Vec3> &positions, const std::vector<double> &potential, int numThreads);
    /** Evaluate the model a few times, since torch optimises a module during its first calls. */
    void warmUp(size_t numAtoms, int numThreads);

private:
    struct Module;
    Result call(const std::vector<OpenMM::Vec3> &positions, const std::vector<double> &potential, int numThreads);
    std::unique_ptr<Module> module;
    std::string contractText;
    ModelContract contract;
};

} // namespace KStep

#endif
