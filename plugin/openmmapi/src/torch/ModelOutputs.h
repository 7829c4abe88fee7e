#ifndef OPENMMKSTEP_MODELOUTPUTS_H_
#define OPENMMKSTEP_MODELOUTPUTS_H_

#include "PotentialModel.h"
#include <ATen/ATen.h>
#include <string>
#include <vector>

namespace KStep {

/**
 * What a potential returned, in the terms of OpenMM.
 *
 * @param outputs   energy, forces [N, 3] and, if the model returns them, charges [N]
 * @param numAtoms  N
 * @param owner     the class that uses the model, named in errors
 * @throws OpenMMException if a shape is wrong or a value is not finite
 */
PotentialModel::Result asResult(const std::vector<at::Tensor> &outputs, size_t numAtoms, const std::string &owner);

} // namespace KStep

#endif
