#ifndef OPENMMKSTEP_COULOMBKERNELS_H_
#define OPENMMKSTEP_COULOMBKERNELS_H_

#include <cstddef>

namespace KStep {

/** Point charges laid out for vector instructions. */
struct ChargeArrays {
    int count;
    const double *x, *y, *z, *charge;
};

/** Sum of q/r over all charges at one site, and its gradient. */
void sumPotential(const ChargeArrays &charges, const double site[3], double &potential, double gradient[3]);

/**
 * Add weight/r of one site to the potential at each charge, and its gradient there (not multiplied by the charge), to
 * four arrays.
 */
void addSitePotential(const ChargeArrays &charges, const double site[3], double weight, double *potential, double *gx,
                      double *gy, double *gz);

/**
 * Differences of a point and charges at their nearest images, and the squares of their lengths.
 *
 * @param box  the box vectors that are not 0: a_x, b_x, b_y, c_x, c_y, c_z
 */
void findNearestImages(const double point[3], const double box[6], int count, const double *x, const double *y,
                       const double *z, double *dx, double *dy, double *dz, double *r2);

double dotProduct(std::size_t count, const double *a, const double *b);

// For complex arrays of so many elements, with real and imaginary parts apart; p is a complex number.

/** s += p w */
void addProducts(double pr, double pi, int count, const double *wr, const double *wi, double *sr, double *si);
/** sum f Re(conj(p w) s) */
double sumProducts(double pr, double pi, int count, const double *wr, const double *wi, const double *sr,
                   const double *si, const double *f);
/** sum f Im(conj(p w) s), and the same times n, which counts from the first element on */
void sumSlopes(double pr, double pi, int count, int firstN, const double *wr, const double *wi, const double *sr,
               const double *si, const double *f, double &sum, double &moment);

} // namespace KStep

#endif
