#include "CoulombKernels.h"
#include <cmath>

// These loops run at every inner step. Where the compiler can, it makes a version for wider vector instructions too and
// the loader chooses.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define KSTEP_VECTORIZED __attribute__((target_clones("arch=haswell", "default")))
#else
#define KSTEP_VECTORIZED
#endif

namespace KStep {

KSTEP_VECTORIZED
void sumPotential(const ChargeArrays &charges, const double site[3], double &potential, double gradient[3]) {
    const int n = charges.count;
    const double *const x = charges.x, *const y = charges.y, *const z = charges.z, *const q = charges.charge;
    const double sx = site[0], sy = site[1], sz = site[2];
    double sum = 0, gx = 0, gy = 0, gz = 0;
#pragma omp simd reduction(+ : sum, gx, gy, gz)
    for (int j = 0; j < n; j++) {
        const double dx = sx - x[j], dy = sy - y[j], dz = sz - z[j];
        const double inverse = 1 / std::sqrt(dx * dx + dy * dy + dz * dz);
        const double term = q[j] * inverse;
        const double slope = term * inverse * inverse;
        sum += term;
        gx -= slope * dx;
        gy -= slope * dy;
        gz -= slope * dz;
    }
    potential = sum;
    gradient[0] = gx;
    gradient[1] = gy;
    gradient[2] = gz;
}

KSTEP_VECTORIZED
void addSitePotential(const ChargeArrays &charges, const double site[3], double weight, double *potential, double *gx,
                      double *gy, double *gz) {
    const int n = charges.count;
    const double *const x = charges.x, *const y = charges.y, *const z = charges.z;
    const double sx = site[0], sy = site[1], sz = site[2];
#pragma omp simd
    for (int j = 0; j < n; j++) {
        const double dx = x[j] - sx, dy = y[j] - sy, dz = z[j] - sz;
        const double inverse = 1 / std::sqrt(dx * dx + dy * dy + dz * dz);
        const double term = weight * inverse;
        const double slope = term * inverse * inverse;
        potential[j] += term;
        gx[j] -= slope * dx;
        gy[j] -= slope * dy;
        gz[j] -= slope * dz;
    }
}

} // namespace KStep
