#ifndef OPENMMKSTEP_ARRAYS_H_
#define OPENMMKSTEP_ARRAYS_H_

#include "openmm/Vec3.h"
#include <pybind11/numpy.h>
#include <vector>

namespace KStep::bindings {

template <class T> pybind11::array_t<T> toArray(const std::vector<T> &values) {
    return pybind11::array_t<T>(values.size(), values.data());
}

/** Vectors as an array [n, 3]. */
pybind11::array_t<double> toArray(const std::vector<OpenMM::Vec3> &vectors);

/** Vectors from an array of any shape whose last axis has length three; anything else is a ValueError that names it. */
std::vector<OpenMM::Vec3>
toVectors(const pybind11::array_t<double, pybind11::array::c_style | pybind11::array::forcecast> &array,
          const char *name);

} // namespace KStep::bindings

#endif
