#include "Arrays.h"
#include <string>

namespace py = pybind11;
using OpenMM::Vec3;
using std::vector;

namespace KStep::bindings {

py::array_t<double> toArray(const vector<Vec3> &vectors) {
    py::array_t<double> array({static_cast<py::ssize_t>(vectors.size()), static_cast<py::ssize_t>(3)});
    auto access = array.mutable_unchecked<2>();
    for (size_t i = 0; i < vectors.size(); i++)
        for (int k = 0; k < 3; k++)
            access(i, k) = vectors[i][k];
    return array;
}

vector<Vec3> toVectors(const py::array_t<double, py::array::c_style | py::array::forcecast> &array, const char *name) {
    if (array.ndim() < 1 || array.shape(array.ndim() - 1) != 3)
        throw py::value_error(std::string("the last axis of ") + name + " must have length 3");
    vector<Vec3> result;
    for (const double *value = array.data(); value != array.data() + array.size(); value += 3)
        result.emplace_back(value[0], value[1], value[2]);
    return result;
}

} // namespace KStep::bindings
