#include "SwigTransfer.h"
#include "openmm/OpenMMException.h"
#include "openmm/serialization/SerializationNode.h"
#include "openmm/serialization/SerializationProxy.h"
#include <map>
#include <memory>

namespace KStep::bindings {

namespace {

template <class Base> class TransferProxy : public OpenMM::SerializationProxy {
public:
    explicit TransferProxy(const std::string &typeName) : SerializationProxy(typeName) {}
    void serialize(const void *, OpenMM::SerializationNode &) const override {
        throw OpenMM::OpenMMException(getTypeName() + " is not a type that can be serialized");
    }
    void *deserialize(const OpenMM::SerializationNode &node) const override {
        auto waiting = pending().find(node.getStringProperty("token"));
        if (waiting == pending().end())
            throw OpenMM::OpenMMException(getTypeName() + ": no object waits under this token");
        Base *object = waiting->second.release();
        pending().erase(waiting);
        return object;
    }
    static std::map<std::string, std::unique_ptr<Base>> &pending() {
        static std::map<std::string, std::unique_ptr<Base>> objects;
        return objects;
    }
};

template <class Base> std::string transferAs(Base *object, const std::string &element, const std::string &typeName) {
    static unsigned long long next = 0;
    const std::string token = std::to_string(next++);
    TransferProxy<Base>::pending()[token].reset(object);
    return "<?xml version=\"1.0\" ?>\n<" + element + " type=\"" + typeName + "\" token=\"" + token + "\"/>";
}

struct ForceTag {};
struct IntegratorTag {};

} // namespace

void registerSwigTransfer() {
    OpenMM::SerializationProxy::registerProxy(typeid(ForceTag), new TransferProxy<OpenMM::Force>("KStepForceTransfer"));
    OpenMM::SerializationProxy::registerProxy(typeid(IntegratorTag),
                                              new TransferProxy<OpenMM::Integrator>("KStepIntegratorTransfer"));
}

std::string transfer(OpenMM::Force *force) {
    return transferAs(force, "Force", "KStepForceTransfer");
}

std::string transfer(OpenMM::Integrator *integrator) {
    return transferAs(integrator, "Integrator", "KStepIntegratorTransfer");
}

void *swigPointer(pybind11::handle object) {
    if (!pybind11::hasattr(object, "this"))
        throw pybind11::type_error("expected an object of OpenMM");
    return reinterpret_cast<void *>(pybind11::int_(object.attr("this")).cast<uintptr_t>());
}

OpenMM::Context &unwrapContext(pybind11::handle context) {
    const pybind11::object contextClass = pybind11::module_::import("openmm").attr("Context");
    if (!pybind11::isinstance(context, contextClass))
        throw pybind11::type_error("expected an openmm.Context");
    return *static_cast<OpenMM::Context *>(swigPointer(context));
}

} // namespace KStep::bindings
