#ifndef OPENMMKSTEP_SWIGTRANSFER_H_
#define OPENMMKSTEP_SWIGTRANSFER_H_

#include "openmm/Context.h"
#include "openmm/Force.h"
#include "openmm/Integrator.h"
#include <pybind11/pybind11.h>
#include <string>

namespace KStep::bindings {

/**
 * Give a C++ object to OpenMM's Python layer. The object waits under a token; the XML returned names the token, and
 * OpenMM's own deserializer turns it into the object, which OpenMM's Python layer owns from then on. This needs nothing
 * but the public interface of OpenMM, whose SWIG types are closed to other extension modules.
 */
std::string transfer(OpenMM::Force *force);
std::string transfer(OpenMM::Integrator *integrator);

/** Register the serialization proxies that transfer() relies on. Called once, when the module is imported. */
void registerSwigTransfer();

/** The address that a SWIG object of OpenMM's Python layer refers to. Throws TypeError if there is none. */
void *swigPointer(pybind11::handle object);

/** The C++ object behind an object of OpenMM's Python layer, or null if it is of another class. */
template <class T, class Base> T *find(pybind11::handle object) {
    return dynamic_cast<T *>(static_cast<Base *>(swigPointer(object)));
}

/** The same, but throws TypeError if it is of another class. */
template <class T, class Base> T &unwrap(pybind11::handle object, const char *className) {
    T *result = find<T, Base>(object);
    if (result == nullptr)
        throw pybind11::type_error(std::string("expected a ") + className);
    return *result;
}

OpenMM::Context &unwrapContext(pybind11::handle context);

} // namespace KStep::bindings

#endif
