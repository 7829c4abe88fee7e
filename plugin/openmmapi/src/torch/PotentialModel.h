#ifndef OPENMMKSTEP_POTENTIALMODEL_H_
#define OPENMMKSTEP_POTENTIALMODEL_H_

#include "openmm/Vec3.h"
#include <vector>

namespace KStep {

/** What a TorchScriptForce evaluates: an archive, interpreted or compiled. */
class PotentialModel {
public:
    struct Result {
        double energy = 0;
        std::vector<OpenMM::Vec3> forces;
        /** dE/dpotential at each atom, or empty */
        std::vector<double> charges;
    };
    virtual ~PotentialModel() = default;
    /**
     * Evaluate the model.
     *
     * @param positions   positions of its atoms (nm)
     * @param potential   electrostatic potential at each (kJ/mol/e); ignored if the model takes none
     * @param numThreads  threads that torch may use
     *
     * @throws OpenMMException if the model fails, or returns something of another shape or that is not finite
     */
    virtual Result evaluate(const std::vector<OpenMM::Vec3> &positions, const std::vector<double> &potential,
                            int numThreads) = 0;
};

/** A geometry without meaning in which no two atoms coincide: a zigzag with bond-like distances. */
std::vector<OpenMM::Vec3> trialGeometry(size_t numAtoms);

} // namespace KStep

#endif
