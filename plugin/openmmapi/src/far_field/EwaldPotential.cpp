#include "EwaldPotential.h"
#include "openmm/OpenMMException.h"
#include "openmmkstep/internal/EmbeddingField.h"
#include "openmmkstep/internal/PeriodicBox.h"
#include "qmmm/CoulombKernels.h"
#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <string>

using OpenMM::Vec3;
using std::vector;
using Complex = std::complex<double>;

namespace KStep {

namespace {

constexpr double PI = std::numbers::pi;
const double TWO_OVER_ROOT_PI = 2 / std::sqrt(PI);
/** Below this argument the differences of error functions cancel, and their series is exact. */
constexpr double SMALL = 1e-2;
constexpr int TABLE_SIZE = 2000;

/** -erf(a r)/r, which has no pole. */
void smeared(double alpha, double r2, double &potential, double &slope) {
    const double x2 = alpha * alpha * r2;
    if (x2 < SMALL * SMALL) {
        potential = -TWO_OVER_ROOT_PI * alpha * (1 - x2 / 3 + x2 * x2 / 10);
        slope = TWO_OVER_ROOT_PI * alpha * alpha * alpha * (2.0 / 3 - 2 * x2 / 5);
        return;
    }
    const double r = std::sqrt(r2);
    potential = -std::erf(alpha * r) / r;
    slope = -(potential + TWO_OVER_ROOT_PI * alpha * std::exp(-x2)) / r2;
}

} // namespace

EwaldPotential::EwaldPotential(int numOwn, const vector<double> &charges, double tolerance)
    : numOwn(numOwn), charges(charges), totalCharge(std::accumulate(charges.begin(), charges.end(), 0.0)),
      accuracy(std::sqrt(-std::log(tolerance))) {}

void EwaldPotential::setBox(const Vec3 newBox[3]) {
    if (!rows.empty() && newBox[0] == box[0] && newBox[1] == box[1] && newBox[2] == box[2])
        return;
    for (int i = 0; i < 3; i++)
        box[i] = newBox[i];
    const double volume = box[0][0] * box[1][1] * box[2][2];
    // What is within reach of any point is nearer to its anchor than half the box, where one image is nearest.
    reach = 0.5 * std::min({box[0][0], box[1][1], box[2][2]}) - MAX_ANCHOR_DISTANCE;
    if (!(reach > 0))
        throw OpenMM::OpenMMException("Ewald sum: the periodic box must be wider than " +
                                      std::to_string(2 * MAX_ANCHOR_DISTANCE) + " nm");
    alpha = accuracy / reach;
    background = -COULOMB_CONSTANT * PI * totalCharge / (alpha * alpha * volume);
    atReach = std::erfc(accuracy) / reach;
    spacing = reach / TABLE_SIZE;
    complements.resize(TABLE_SIZE + 2);
    complementSlopes.resize(TABLE_SIZE + 2);
    for (int i = 0; i < TABLE_SIZE + 2; i++) {
        const double u = alpha * spacing * i;
        complements[i] = std::erfc(u);
        complementSlopes[i] = -TWO_OVER_ROOT_PI * alpha * std::exp(-u * u);
    }
    Vec3 reciprocal[3];
    for (int i = 0; i < 3; i++)
        reciprocal[i] = box[(i + 1) % 3].cross(box[(i + 2) % 3]) * (2 * PI / volume);
    third = reciprocal[2];
    const double longest = 2 * alpha * accuracy;
    for (int i = 0; i < 3; i++)
        highest[i] = static_cast<int>(longest * norm(box[i]) / (2 * PI));
    rows.clear();
    factors.clear();
    for (int a = 0; a <= highest[0]; a++)
        for (int b = a == 0 ? 0 : -highest[1]; b <= highest[1]; b++) {
            const Vec3 start = reciprocal[0] * a + reciprocal[1] * b;
            Row row{a, b, 0, 0, static_cast<int>(factors.size()), start};
            for (int c = a == 0 && b == 0 ? 1 : -highest[2]; c <= highest[2]; c++) {
                const Vec3 k = start + third * c;
                const double k2 = k.dot(k);
                if (k2 > longest * longest)
                    continue;
                if (row.size++ == 0)
                    row.firstN = c;
                // Twice, for k and -k.
                factors.push_back(COULOMB_CONSTANT * 8 * PI / volume * std::exp(-k2 / (4 * alpha * alpha)) / k2);
            }
            if (row.size > 0)
                rows.push_back(row);
        }
}

void EwaldPotential::complement(double r, double &value, double &slope) const {
    const double place = r / spacing;
    const int i = static_cast<int>(place);
    const double t = place - i, s = 1 - t;
    const double rise = complements[i + 1] - complements[i];
    const double left = complementSlopes[i] * spacing - rise, right = rise - complementSlopes[i + 1] * spacing;
    value = s * complements[i] + t * complements[i + 1] + t * s * (s * left + t * right);
    slope = (rise + (s - t) * (s * left + t * right) + t * s * (right - left)) / spacing;
}

void EwaldPotential::fillPhases(const Vec3 &position, Phases &phases) const {
    // Fractional coordinates by back substitution: the reduced box vectors are a lower triangle.
    double s[3];
    s[2] = position[2] / box[2][2];
    s[1] = (position[1] - s[2] * box[2][1]) / box[1][1];
    s[0] = (position[0] - s[2] * box[2][0] - s[1] * box[1][0]) / box[0][0];
    const auto fill = [](double fraction, int number, vector<Complex> &powers) {
        const Complex step = std::polar(1.0, 2 * PI * (fraction - std::floor(fraction)));
        powers.resize(number + 1);
        powers[0] = 1;
        for (int n = 1; n <= number; n++)
            powers[n] = powers[n - 1] * step;
    };
    fill(s[0], highest[0], phases.first);
    fill(s[1], highest[1], phases.second);
    const int n = highest[2];
    phases.real.resize(2 * n + 1);
    phases.imaginary.resize(2 * n + 1);
    const Complex step = std::polar(1.0, 2 * PI * (s[2] - std::floor(s[2])));
    Complex power = 1;
    for (int c = 0; c <= n; c++) {
        phases.real[n + c] = phases.real[n - c] = power.real();
        phases.imaginary[n + c] = power.imag();
        phases.imaginary[n - c] = -power.imag();
        power *= step;
    }
}

Complex EwaldPotential::planeOf(const Row &row, const Phases &phases) {
    return phases.first[row.a] * (row.b < 0 ? std::conj(phases.second[-row.b]) : phases.second[row.b]);
}

void EwaldPotential::addWaves(const Phases &phases, double weight, vector<double> &re, vector<double> &im) const {
    for (const Row &row : rows) {
        const Complex plane = weight * planeOf(row, phases);
        addProducts(plane.real(), plane.imag(), row.size, &phases.real[highest[2] + row.firstN],
                    &phases.imaginary[highest[2] + row.firstN], &re[row.offset], &im[row.offset]);
    }
}

Vec3 EwaldPotential::slopeOf(const Phases &phases, const vector<double> &re, const vector<double> &im) const {
    Vec3 slope;
    for (const Row &row : rows) {
        const Complex plane = planeOf(row, phases);
        double sum, moment;
        sumSlopes(plane.real(), plane.imag(), row.size, row.firstN, &phases.real[highest[2] + row.firstN],
                  &phases.imaginary[highest[2] + row.firstN], &re[row.offset], &im[row.offset], &factors[row.offset],
                  sum, moment);
        slope += row.start * sum + third * moment;
    }
    return slope;
}

void EwaldPotential::update(const vector<Vec3> &newPositions, const Vec3 newBox[3]) {
    positions = newPositions;
    const size_t n = positions.size();
    for (vector<double> *each : {&x, &y, &z, &dx, &dy, &dz, &r2})
        each->resize(n);
    for (size_t j = 0; j < n; j++) {
        x[j] = positions[j][0];
        y[j] = positions[j][1];
        z[j] = positions[j][2];
    }
    setBox(newBox);
    real.assign(factors.size(), 0);
    imaginary.assign(factors.size(), 0);
    Phases phases;
    for (size_t j = 0; j < n; j++) {
        fillPhases(positions[j], phases);
        addWaves(phases, charges[j], real, imaginary);
    }
}

void EwaldPotential::selectNear(const Vec3 &anchor) const {
    const double place[3] = {anchor[0], anchor[1], anchor[2]};
    const double vectors[6] = {box[0][0], box[1][0], box[1][1], box[2][0], box[2][1], box[2][2]};
    findNearestImages(place, vectors, static_cast<int>(positions.size()), x.data(), y.data(), z.data(), dx.data(),
                      dy.data(), dz.data(), r2.data());
    near.clear();
    const double farthest = reach + MAX_ANCHOR_DISTANCE * (1 + 1e-9);
    for (int j = 0; j < static_cast<int>(positions.size()); j++) {
        if (r2[j] >= farthest * farthest)
            continue;
        const Vec3 image = anchor - Vec3(dx[j], dy[j], dz[j]);
        // Where it is given a charge of the group is left out; another image counts.
        const Vec3 shift = image - positions[j];
        if (j >= numOwn || shift.dot(shift) > SMALL * SMALL)
            near.push_back({j, image});
    }
}

template <class Visitor> void EwaldPotential::visitNear(const Vec3 &point, Visitor visit) const {
    for (int j = 0; j < numOwn; j++) {
        const Vec3 delta = point - positions[j];
        double potential, slope;
        smeared(alpha, delta.dot(delta), potential, slope);
        visit(j, delta, potential, slope);
    }
    for (const auto &[j, image] : near) {
        const Vec3 delta = point - image;
        const double square = delta.dot(delta);
        if (square >= reach * reach)
            continue;
        const double r = std::sqrt(square);
        double value, slope;
        complement(r, value, slope);
        visit(j, delta, value / r - atReach, (slope - value / r) / square);
    }
}

vector<double> EwaldPotential::computePotential(const Points &points) const {
    vector<double> result(points.positions.size(), background);
    Phases phases;
    for (size_t p = 0; p < points.positions.size(); p++) {
        const Vec3 &point = points.positions[p];
        if (points.anchors[p] == static_cast<int>(p))
            selectNear(point);
        double sum = 0;
        visitNear(point, [&](int j, const Vec3 &, double potential, double) { sum += charges[j] * potential; });
        result[p] += COULOMB_CONSTANT * sum;
        fillPhases(point, phases);
        for (const Row &row : rows) {
            const Complex plane = planeOf(row, phases);
            result[p] += sumProducts(plane.real(), plane.imag(), row.size, &phases.real[highest[2] + row.firstN],
                                     &phases.imaginary[highest[2] + row.firstN], &real[row.offset],
                                     &imaginary[row.offset], &factors[row.offset]);
        }
    }
    return result;
}

void EwaldPotential::addForces(const Points &points, const vector<double> &weights, vector<Vec3> &pointForces,
                               vector<Vec3> &chargeForces) const {
    Phases phases;
    vector<double> weightedReal(factors.size(), 0), weightedImaginary(factors.size(), 0);
    for (size_t p = 0; p < points.positions.size(); p++) {
        const Vec3 &point = points.positions[p];
        if (points.anchors[p] == static_cast<int>(p))
            selectNear(point);
        visitNear(point, [&](int j, const Vec3 &delta, double, double slope) {
            const Vec3 force = delta * (-COULOMB_CONSTANT * weights[p] * charges[j] * slope);
            pointForces[p] += force;
            chargeForces[j] -= force;
        });
        fillPhases(point, phases);
        addWaves(phases, weights[p], weightedReal, weightedImaginary);
        pointForces[p] -= slopeOf(phases, real, imaginary) * weights[p];
    }
    // The sum is symmetric in points and charges.
    for (size_t j = 0; j < positions.size(); j++) {
        fillPhases(positions[j], phases);
        chargeForces[j] -= slopeOf(phases, weightedReal, weightedImaginary) * charges[j];
    }
}

} // namespace KStep
