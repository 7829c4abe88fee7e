#ifndef OPENMMKSTEP_COULOMBKERNELS_H_
#define OPENMMKSTEP_COULOMBKERNELS_H_

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

} // namespace KStep

#endif
