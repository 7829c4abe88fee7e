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

KSTEP_VECTORIZED
void findNearestImages(const double point[3], const double box[6], int count, const double *x, const double *y,
                       const double *z, double *dx, double *dy, double *dz, double *r2) {
    const double px = point[0], py = point[1], pz = point[2];
    const double ax = box[0], bx = box[1], by = box[2], cx = box[3], cy = box[4], cz = box[5];
    const double overA = 1 / ax, overB = 1 / by, overC = 1 / cz;
#pragma omp simd
    for (int j = 0; j < count; j++) {
        double ux = px - x[j], uy = py - y[j], uz = pz - z[j];
        const double nc = std::floor(uz * overC + 0.5);
        ux -= nc * cx;
        uy -= nc * cy;
        uz -= nc * cz;
        const double nb = std::floor(uy * overB + 0.5);
        ux -= nb * bx;
        uy -= nb * by;
        ux -= std::floor(ux * overA + 0.5) * ax;
        dx[j] = ux;
        dy[j] = uy;
        dz[j] = uz;
        r2[j] = ux * ux + uy * uy + uz * uz;
    }
}

KSTEP_VECTORIZED
double dotProduct(std::size_t count, const double *a, const double *b) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

KSTEP_VECTORIZED
void addProducts(double pr, double pi, int count, const double *wr, const double *wi, double *sr, double *si) {
#pragma omp simd
    for (int i = 0; i < count; i++) {
        sr[i] += pr * wr[i] - pi * wi[i];
        si[i] += pr * wi[i] + pi * wr[i];
    }
}

KSTEP_VECTORIZED
double sumProducts(double pr, double pi, int count, const double *wr, const double *wi, const double *sr,
                   const double *si, const double *f) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < count; i++)
        sum += f[i] * ((pr * wr[i] - pi * wi[i]) * sr[i] + (pr * wi[i] + pi * wr[i]) * si[i]);
    return sum;
}

KSTEP_VECTORIZED
void sumSlopes(double pr, double pi, int count, int firstN, const double *wr, const double *wi, const double *sr,
               const double *si, const double *f, double &sum, double &moment) {
    double total = 0, weighted = 0;
#pragma omp simd reduction(+ : total, weighted)
    for (int i = 0; i < count; i++) {
        const double term = f[i] * ((pr * wr[i] - pi * wi[i]) * si[i] - (pr * wi[i] + pi * wr[i]) * sr[i]);
        total += term;
        weighted += term * (firstN + i);
    }
    sum = total;
    moment = weighted;
}

} // namespace KStep
