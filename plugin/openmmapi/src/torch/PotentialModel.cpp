#include "PotentialModel.h"

using OpenMM::Vec3;

namespace KStep {

std::vector<Vec3> trialGeometry(size_t numAtoms) {
    std::vector<Vec3> positions;
    for (size_t i = 0; i < numAtoms; i++)
        positions.emplace_back(0.12 * static_cast<double>(i), 0.08 * static_cast<double>(i % 2),
                               0.05 * static_cast<double>(i % 3));
    return positions;
}

} // namespace KStep
