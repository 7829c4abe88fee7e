#include "Handover.h"
#include "openmmkstep/QMEngine.h"
#include "openmmkstep/QMMMForce.h"
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

namespace py = pybind11;
using OpenMM::Vec3;
using std::vector;

namespace KStep::bindings {

namespace {

QMMMForce &unwrapForce(py::handle object) {
    return unwrap<QMMMForce, OpenMM::Force>(object, "QMMMForce");
}

template <class T> py::array_t<T> toArray(const vector<T> &values) {
    return py::array_t<T>(values.size(), values.data());
}

py::array_t<double> toArray(const vector<Vec3> &vectors) {
    py::array_t<double> array({static_cast<py::ssize_t>(vectors.size()), static_cast<py::ssize_t>(3)});
    auto access = array.mutable_unchecked<2>();
    for (size_t i = 0; i < vectors.size(); i++)
        for (int k = 0; k < 3; k++)
            access(i, k) = vectors[i][k];
    return array;
}

QMRegion makeRegion(const vector<int> &particles, const vector<int> &atomicNumbers, int charge, int multiplicity,
                    const vector<std::tuple<int, int, double, int>> &linkAtoms) {
    if (particles.size() != atomicNumbers.size())
        throw py::value_error("there must be as many atomic numbers as particles");
    QMRegion region;
    for (size_t i = 0; i < particles.size(); i++)
        region.addAtom(particles[i], atomicNumbers[i]);
    for (const auto &[qmParticle, mmParticle, ratio, atomicNumber] : linkAtoms)
        region.addLinkAtom(qmParticle, mmParticle, ratio, atomicNumber);
    region.setCharge(charge);
    region.setMultiplicity(multiplicity);
    return region;
}

py::list listLinkAtoms(const QMRegion &region) {
    py::list links;
    for (const QMRegion::LinkAtom &link : region.getLinkAtoms())
        links.append(py::make_tuple(link.qmParticle, link.mmParticle, link.ratio, link.atomicNumber));
    return links;
}

py::dict toDict(const QMMMResult &result) {
    py::dict dict;
    dict["energy"] = result.energy;
    dict["numbers"] = toArray(result.siteNumbers);
    dict["positions"] = toArray(result.sitePositions);
    dict["forces"] = toArray(result.siteForces);
    dict["charges"] = toArray(result.siteCharges);
    dict["dipole"] = toArray(vector<double>{result.dipole[0], result.dipole[1], result.dipole[2]});
    dict["potential"] = toArray(result.potential);
    dict["potentialGradient"] = toArray(result.potentialGradient);
    dict["environmentParticles"] = toArray(result.environmentParticles);
    dict["environmentCharges"] = toArray(result.environmentCharges);
    dict["environmentPositions"] = toArray(result.environmentPositions);
    dict["environmentForces"] = toArray(result.environmentForces);
    dict["iterations"] = result.iterations;
    dict["attempts"] = result.attempts;
    return dict;
}

} // namespace

void bindQMMMForce(py::module_ &module) {
    module.def("QMMMForce_create",
               [](const vector<int> &particles, const vector<int> &atomicNumbers, int charge, int multiplicity,
                  const vector<std::tuple<int, int, double, int>> &linkAtoms, const std::string &engine,
                  const std::string &settings, const EmbeddingCharges &charges) {
                   return handOver(new QMMMForce(makeRegion(particles, atomicNumbers, charge, multiplicity, linkAtoms),
                                                 engine, settings, charges));
               });
    module.def("QMMMForce_isInstance", [](py::handle object) {
        return dynamic_cast<QMMMForce *>(static_cast<OpenMM::Force *>(swigPointer(object))) != nullptr;
    });
    module.def("QMMMForce_getParticles",
               [](py::handle f) { return toArray(unwrapForce(f).getRegion().getParticles()); });
    module.def("QMMMForce_getAtomicNumbers",
               [](py::handle f) { return toArray(unwrapForce(f).getRegion().getAtomicNumbers()); });
    module.def("QMMMForce_getLinkAtoms", [](py::handle f) { return listLinkAtoms(unwrapForce(f).getRegion()); });
    module.def("QMMMForce_getCharge", [](py::handle f) { return unwrapForce(f).getRegion().getCharge(); });
    module.def("QMMMForce_getMultiplicity", [](py::handle f) { return unwrapForce(f).getRegion().getMultiplicity(); });
    module.def("QMMMForce_getEngine", [](py::handle f) { return unwrapForce(f).getEngine(); });
    module.def("QMMMForce_getEngineSettings", [](py::handle f) { return unwrapForce(f).getEngineSettings(); });
    module.def("QMMMForce_getEmbeddingCharges", [](py::handle f) { return unwrapForce(f).getEmbeddingCharges(); });
    module.def("QMMMForce_getLastResult",
               [](py::handle f, py::handle c) { return toDict(unwrapForce(f).getLastResult(unwrapContext(c))); });
    module.def("QMMMForce_getNumCalls",
               [](py::handle f, py::handle c) { return unwrapForce(f).getNumCalls(unwrapContext(c)); });
    module.def("QMMMForce_getTime",
               [](py::handle f, py::handle c) { return unwrapForce(f).getTime(unwrapContext(c)); });
    module.def("QMMMForce_reset", [](py::handle f, py::handle c) { unwrapForce(f).reset(unwrapContext(c)); });
    module.def("QMMMForce_getEngineNames", &QMEngineRegistry::getEngineNames);
}

} // namespace KStep::bindings
