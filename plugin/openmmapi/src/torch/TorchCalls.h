#ifndef OPENMMKSTEP_TORCHCALLS_H_
#define OPENMMKSTEP_TORCHCALLS_H_

#include "openmm/Vec3.h"
#include <ATen/ATen.h>
#include <functional>
#include <string>
#include <vector>

namespace KStep {

/** The atoms' positions as [N, 3] in double precision. */
at::Tensor asTensor(const std::vector<OpenMM::Vec3> &positions);
/** A number per atom as [N] in double precision. */
at::Tensor asTensor(const std::vector<double> &values);

/**
 * An output of a model in double precision.
 *
 * @param tensor  the output
 * @param name    what it is, for errors
 * @param shape   which it must have
 * @param owner   the class that uses the model, named in errors
 *
 * @throws OpenMMException if the shape is wrong or a value is not finite
 */
at::Tensor checkedOutput(const at::Tensor &tensor, const char *name, const std::vector<int64_t> &shape,
                         const std::string &owner);

/**
 * Call torch with a number of threads (which is put back afterwards) and without Python's lock, which OpenMM's
 * Context.getState() holds and under which torch refuses to differentiate. Errors of torch become OpenMMExceptions that
 * begin with the name of the class that calls.
 */
void callTorch(const std::string &owner, int numThreads, const std::function<void()> &call);

/** What an exception says, without the stack of torch's calls. */
std::string plainMessage(const std::exception &error);

} // namespace KStep

#endif
