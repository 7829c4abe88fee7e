#ifndef OPENMMKSTEP_PROXYREGISTRATION_H_
#define OPENMMKSTEP_PROXYREGISTRATION_H_

#include "openmm/OpenMMException.h"
#include "openmm/serialization/SerializationNode.h"
#include "openmm/serialization/SerializationProxy.h"
#include <string>

namespace KStep {

/** Registers the proxy of a class; a static object of this type does so when the library is loaded. */
template <class Object, class Proxy> struct ProxyRegistration {
    ProxyRegistration() { OpenMM::SerializationProxy::registerProxy(typeid(Object), new Proxy()); }
};

/** @throws OpenMMException unless a node was written by this version of its proxy */
inline void checkVersion(const OpenMM::SerializationNode &node, int version, const std::string &owner) {
    if (node.getIntProperty("version") != version)
        throw OpenMM::OpenMMException(owner + ": this XML has version " + node.getStringProperty("version") +
                                      ", this plugin reads version " + std::to_string(version));
}

} // namespace KStep

#endif
