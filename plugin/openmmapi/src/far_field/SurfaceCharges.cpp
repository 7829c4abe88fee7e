#include "SurfaceCharges.h"
#include "EwaldPotential.h"
#include "openmmkstep/internal/EmbeddingField.h"
#include "qmmm/CoulombKernels.h"
#include <cmath>
#include <numbers>

using OpenMM::Vec3;
using std::vector;

namespace KStep {

namespace {

constexpr int CHARGES_PER_SITE = 32;
/** nm; radius of the spheres: where electrons no longer are, and nearer than what fades out of most embeddings. */
constexpr double RADIUS = 0.6;
/** nm; charges nearer than this to a site of another sphere are left out, and from here on they are whole. */
constexpr double INSIDE = 0.3, OUTSIDE = 0.58;
/** nm; distance of probes from their site: where the electrons are. */
constexpr double PROBE_DISTANCE = 0.1;
static_assert(PROBE_DISTANCE <= EwaldPotential::MAX_ANCHOR_DISTANCE);
/** Relative to charges at 1 nm: keeps charges small where they hardly make a difference. */
constexpr double RIDGE = 1e-7;

const Vec3 PROBES[] = {Vec3(0, 0, 0),  Vec3(1, 0, 0), Vec3(-1, 0, 0), Vec3(0, 1, 0),
                       Vec3(0, -1, 0), Vec3(0, 0, 1), Vec3(0, 0, -1)};

/** Points spread evenly over the unit sphere (a Fibonacci lattice). */
vector<Vec3> evenDirections(int number) {
    const double golden = std::numbers::pi * (1 + std::sqrt(5.0));
    vector<Vec3> directions;
    for (int i = 0; i < number; i++) {
        const double z = 1 - (2 * i + 1.0) / number, width = std::sqrt(1 - z * z), angle = golden * (i + 0.5);
        directions.emplace_back(width * std::cos(angle), width * std::sin(angle), z);
    }
    return directions;
}

/** From 0 inside to 1 outside, with two continuous derivatives; slope is d/dr. */
double outsideness(double r, double &slope) {
    slope = 0;
    if (r <= INSIDE)
        return 0;
    if (r >= OUTSIDE)
        return 1;
    const double t = (r - INSIDE) / (OUTSIDE - INSIDE);
    slope = 30 * t * t * (1 - t) * (1 - t) / (OUTSIDE - INSIDE);
    return t * t * t * (10 - 15 * t + 6 * t * t);
}

double distance(const Vec3 &a, const Vec3 &b) {
    return std::sqrt((a - b).dot(a - b));
}

} // namespace

SurfaceCharges::SurfaceCharges(int numSites)
    : directions(evenDirections(CHARGES_PER_SITE)), probes(PROBES_PER_SITE * numSites) {}

void SurfaceCharges::place(const vector<Vec3> &places) {
    sites = places;
    for (size_t p = 0; p < probes.size(); p++)
        probes[p] = sites[siteOfProbe(p)] + PROBES[p % PROBES_PER_SITE] * PROBE_DISTANCE;
    positions.clear();
    hosts.clear();
    fading.clear();
    for (size_t i = 0; i < sites.size(); i++)
        for (const Vec3 &direction : directions) {
            const Vec3 position = sites[i] + direction * RADIUS;
            double product = 1, slope;
            for (size_t j = 0; j < sites.size() && product > 0; j++)
                if (j != i)
                    product *= outsideness(distance(position, sites[j]), slope);
            if (product == 0)
                continue;
            positions.push_back(position);
            hosts.push_back(static_cast<int>(i));
            fading.push_back(product);
        }
    const size_t numCharges = positions.size();
    matrix.resize(probes.size() * numCharges);
    for (size_t p = 0; p < probes.size(); p++)
        for (size_t m = 0; m < numCharges; m++)
            matrix[p * numCharges + m] = COULOMB_CONSTANT / distance(probes[p], positions[m]);
    factorize();
}

void SurfaceCharges::factorize() {
    const size_t n = probes.size(), numCharges = positions.size();
    vector<double> faded(matrix);
    for (size_t p = 0; p < n; p++)
        for (size_t m = 0; m < numCharges; m++)
            faded[p * numCharges + m] *= fading[m];
    const double ridge =
        RIDGE * COULOMB_CONSTANT * COULOMB_CONSTANT * static_cast<double>(sites.size() * directions.size());
    factor.assign(n * n, 0);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            const double ofMatrix = dotProduct(numCharges, &faded[i * numCharges], &faded[j * numCharges]);
            const double sum = (i == j ? ridge : 0) + ofMatrix - dotProduct(j, &factor[i * n], &factor[j * n]);
            factor[i * n + j] = i == j ? std::sqrt(sum) : sum / factor[j * n + j];
        }
}

vector<double> SurfaceCharges::solve(vector<double> b) const {
    const size_t n = b.size();
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < i; k++)
            b[i] -= factor[i * n + k] * b[k];
        b[i] /= factor[i * n + i];
    }
    for (size_t i = n; i-- > 0;) {
        b[i] /= factor[i * n + i];
        for (size_t k = 0; k < i; k++)
            b[k] -= factor[i * n + k] * b[i];
    }
    return b;
}

vector<double> SurfaceCharges::atCharges(const vector<double> &x) const {
    const size_t numCharges = positions.size();
    vector<double> result(numCharges, 0);
    for (size_t p = 0; p < probes.size(); p++)
        for (size_t m = 0; m < numCharges; m++)
            result[m] += matrix[p * numCharges + m] * x[p];
    return result;
}

void SurfaceCharges::fit(const vector<double> &atProbes) {
    potential = atProbes;
    multipliers = solve(potential);
    charges = atCharges(multipliers);
    for (size_t m = 0; m < charges.size(); m++)
        charges[m] *= fading[m] * fading[m];
}

void SurfaceCharges::addPotential(const vector<Vec3> &points, vector<double> &atPoints, vector<Vec3> &gradient) const {
    for (size_t p = 0; p < points.size(); p++)
        for (size_t m = 0; m < positions.size(); m++) {
            const Vec3 delta = points[p] - positions[m];
            const double term = COULOMB_CONSTANT * charges[m] / std::sqrt(delta.dot(delta));
            atPoints[p] += term;
            gradient[p] -= delta * (term / delta.dot(delta));
        }
}

double SurfaceCharges::getResidual() const {
    vector<double> made(probes.size(), 0);
    vector<Vec3> gradient(probes.size());
    addPotential(probes, made, gradient);
    double sum = 0;
    for (size_t p = 0; p < probes.size(); p++)
        sum += (potential[p] - made[p]) * (potential[p] - made[p]);
    return std::sqrt(sum / static_cast<double>(probes.size()));
}

/**
 * With G = A W^2 A^T + ridge, G z = phi, t = A^T z, Q = W^2 t, and y = G^-1 A W^2 dE/dQ, v = A^T y:
 *
 *     dE/dphi = y,     dE/dA_pm = w_m^2 (z_p (dE/dQ - v)_m - y_p t_m),     dE/dw_m = 2 w_m t_m (dE/dQ - v)_m.
 */
void SurfaceCharges::backPropagate(const vector<double> &chargeDerivatives, const vector<Vec3> &positionGradients,
                                   vector<double> &weights, vector<Vec3> &siteForces) const {
    const size_t numCharges = positions.size();
    vector<double> right(probes.size(), 0);
    for (size_t p = 0; p < probes.size(); p++)
        for (size_t m = 0; m < numCharges; m++)
            right[p] += matrix[p * numCharges + m] * fading[m] * fading[m] * chargeDerivatives[m];
    weights = solve(right);
    const vector<double> t = atCharges(multipliers), v = atCharges(weights);
    siteForces.assign(sites.size(), Vec3());
    for (size_t m = 0; m < numCharges; m++) {
        const double rest = chargeDerivatives[m] - v[m], w = fading[m];
        Vec3 onCharge = positionGradients[m];
        for (size_t p = 0; p < probes.size(); p++) {
            const double slope = w * w * (multipliers[p] * rest - weights[p] * t[m]);
            const Vec3 delta = probes[p] - positions[m];
            const Vec3 gradient = delta * (-slope * matrix[p * numCharges + m] / delta.dot(delta)); // of the probe
            siteForces[siteOfProbe(p)] -= gradient;
            onCharge -= gradient;
        }
        if (w < 1)
            for (size_t j = 0; j < sites.size(); j++) {
                double slope;
                const double r = distance(positions[m], sites[j]);
                if (static_cast<int>(j) == hosts[m] || r >= OUTSIDE)
                    continue;
                const double factorOfSite = outsideness(r, slope);
                const Vec3 gradient =
                    (positions[m] - sites[j]) * (2 * w * t[m] * rest * w / factorOfSite * slope / r); // of the charge
                onCharge += gradient;
                siteForces[j] += gradient;
            }
        siteForces[hosts[m]] -= onCharge;
    }
}

} // namespace KStep
