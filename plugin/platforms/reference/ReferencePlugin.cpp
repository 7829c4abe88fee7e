#include "MinimizeKernel.h"
#include "ReferencePropagationKernel.h"
#include "openmm/KernelFactory.h"
#include "openmm/OpenMMException.h"
#include "openmm/Platform.h"
#include "openmm/internal/ContextImpl.h"
#include "openmm/reference/ReferencePlatform.h"
#include "openmmkstep/Export.h"

namespace KStep {

namespace {

class ReferenceKernelFactory : public OpenMM::KernelFactory {
public:
    OpenMM::KernelImpl *createKernelImpl(std::string name, const OpenMM::Platform &platform,
                                         OpenMM::ContextImpl &context) const override {
        auto &data = *static_cast<OpenMM::ReferencePlatform::PlatformData *>(context.getPlatformData());
        if (name == PropagationKernel::Name())
            return new ReferencePropagationKernel(name, platform, data);
        if (name == OpenMM::MinimizeKernel::Name())
            return new MinimizeKernel(name, platform, context);
        throw OpenMM::OpenMMException("Tried to create kernel with illegal kernel name '" + name + "'");
    }
};

} // namespace

} // namespace KStep

extern "C" KSTEP_EXPORT void registerPlatforms() {}

extern "C" KSTEP_EXPORT void registerKernelFactories() {
    // The CPU platform is a ReferencePlatform too and keeps its state in the same arrays.
    for (int i = 0; i < OpenMM::Platform::getNumPlatforms(); i++) {
        OpenMM::Platform &platform = OpenMM::Platform::getPlatform(i);
        if (dynamic_cast<OpenMM::ReferencePlatform *>(&platform) != nullptr) {
            for (const std::string &kernel : {KStep::PropagationKernel::Name(), OpenMM::MinimizeKernel::Name()})
                platform.registerKernelFactory(kernel, new KStep::ReferenceKernelFactory());
        }
    }
}
