#include "QMRegionBindings.h"
#include "Arrays.h"
#include <optional>
#include <pybind11/stl.h>

namespace py = pybind11;
using std::vector;

namespace KStep::bindings {

namespace {

using Bonds = std::optional<vector<std::pair<int, int>>>;

QMRegion makeRegion(const vector<int> &particles, const vector<int> &atomicNumbers, int charge, int multiplicity,
                    const vector<std::tuple<int, int, double, int>> &linkAtoms, const Bonds &bonds) {
    if (particles.size() != atomicNumbers.size())
        throw py::value_error("there must be as many atomic numbers as particles: " + std::to_string(particles.size()) +
                              " particles but " + std::to_string(atomicNumbers.size()) + " atomic numbers were given");
    QMRegion region;
    for (size_t i = 0; i < particles.size(); i++)
        region.addAtom(particles[i], atomicNumbers[i]);
    for (const auto &[qmParticle, mmParticle, ratio, atomicNumber] : linkAtoms)
        region.addLinkAtom(qmParticle, mmParticle, ratio, atomicNumber);
    region.setCharge(charge);
    region.setMultiplicity(multiplicity);
    if (bonds)
        region.setBonds(*bonds);
    return region;
}

py::list listLinkAtoms(const QMRegion &region) {
    py::list links;
    for (const QMRegion::LinkAtom &link : region.getLinkAtoms())
        links.append(py::make_tuple(link.qmParticle, link.mmParticle, link.ratio, link.atomicNumber));
    return links;
}

} // namespace

void bindQMRegion(py::module_ &module) {
    py::class_<QMRegion>(module, "QMRegion")
        .def(py::init(&makeRegion), py::arg("particles"), py::arg("atomicNumbers"), py::arg("charge") = 0,
             py::arg("multiplicity") = 1, py::arg("linkAtoms") = vector<std::tuple<int, int, double, int>>(),
             py::arg("bonds") = Bonds())
        .def("getParticles", [](const QMRegion &region) { return toArray(region.getParticles()); })
        .def("getAtomicNumbers", [](const QMRegion &region) { return toArray(region.getAtomicNumbers()); })
        .def("getLinkAtoms", &listLinkAtoms)
        .def("getBonds", &QMRegion::getBonds)
        .def("getCharge", &QMRegion::getCharge)
        .def("getMultiplicity", &QMRegion::getMultiplicity);
}

} // namespace KStep::bindings
