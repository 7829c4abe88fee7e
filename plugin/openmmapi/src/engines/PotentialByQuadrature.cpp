#include "PotentialByQuadrature.h"
#include "openmmkstep/internal/PeriodicBox.h"
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

using OpenMM::Vec3;
using std::vector;

namespace KStep {

namespace {

constexpr double TOLERANCE = 1e-8; // of the potential, relative to that of a unit charge
constexpr int MIN_NODES = 3, MAX_NODES = 40;
constexpr double ATOM_RADIUS = 0.05; // nm; engines smear charges over about this length

struct Rule {
    vector<double> nodes, weights;
};

/** Gauss-Legendre quadrature on [0, 1]; nodes by Newton's method on the Legendre polynomial. */
Rule makeRule(int n) {
    Rule rule{vector<double>(n), vector<double>(n)};
    for (int i = 0; i < n; i++) {
        double x = std::cos(M_PI * (i + 0.75) / (n + 0.5)), slope = 1;
        for (int iteration = 0; iteration < 100; iteration++) {
            double previous = 1, value = x;
            for (int k = 2; k <= n; k++) {
                const double next = ((2 * k - 1) * x * value - (k - 1) * previous) / k;
                previous = value;
                value = next;
            }
            slope = n * (x * value - previous) / (x * x - 1);
            const double step = value / slope;
            x -= step;
            if (std::abs(step) < 1e-15)
                break;
        }
        rule.nodes[i] = 0.5 * (1 + x);
        rule.weights[i] = 1 / ((1 - x * x) * slope * slope);
    }
    return rule;
}

const Rule &getRule(int n) {
    static const auto rules = [] {
        std::array<Rule, MAX_NODES + 1> all;
        for (int i = 2; i <= MAX_NODES; i++)
            all[i] = makeRule(i);
        return all;
    }();
    return rules[n];
}

int countNodes(const vector<Vec3> &atoms, const Vec3 &center, const Vec3 &point) {
    const double reach = norm(point - center);
    double axis = std::numeric_limits<double>::infinity();
    for (const Vec3 &atom : atoms)
        axis = std::min(axis, (reach + norm(point - atom)) / (norm(atom - center) + ATOM_RADIUS));
    if (!(axis > 1.0 + 1e-6))
        return MAX_NODES;
    const double rate = std::log(axis + std::sqrt(axis * axis - 1));
    return std::clamp(static_cast<int>(std::ceil(-0.5 * std::log(TOLERANCE) / rate)), MIN_NODES, MAX_NODES);
}

} // namespace

PotentialByQuadrature::PotentialByQuadrature(const vector<Vec3> &atoms, const vector<Vec3> &points) {
    const Vec3 middle = std::accumulate(atoms.begin(), atoms.end(), Vec3()) * (1.0 / atoms.size());
    for (const Vec3 &point : points) {
        Vec3 center = middle;
        int numNodes = countNodes(atoms, middle, point);
        // A ray from the middle may pass another part of a bent molecule; then one from an atom does better.
        if (numNodes > 2 * MIN_NODES)
            for (const Vec3 &atom : atoms) {
                const int candidate = countNodes(atoms, atom, point);
                if (candidate < numNodes) {
                    numNodes = candidate;
                    center = atom;
                }
            }
        addRay(center, point, numNodes);
        ends.push_back(static_cast<int>(positions.size()));
    }
}

void PotentialByQuadrature::addRay(const Vec3 &center, const Vec3 &point, int numNodes) {
    const Rule &rule = getRule(numNodes);
    const Vec3 arm = point - center;
    for (int i = 0; i < numNodes; i++) {
        const double t = rule.nodes[i];
        positions.push_back(center + arm * (1 / t));
        weights.push_back(arm * (-rule.weights[i] / (t * t)));
    }
}

vector<double> PotentialByQuadrature::integrate(const vector<Vec3> &gradients) const {
    vector<double> potentials(ends.size(), 0.0);
    int probe = 0;
    for (size_t i = 0; i < ends.size(); i++)
        for (; probe < ends[i]; probe++)
            potentials[i] += weights[probe].dot(gradients[probe]);
    return potentials;
}

} // namespace KStep
