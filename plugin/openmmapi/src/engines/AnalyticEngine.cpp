#include "BuiltInEngines.h"
#include "EngineSettings.h"
#include "openmm/OpenMMException.h"
#include "openmmkstep/internal/EmbeddingField.h"
#include <cmath>

using nlohmann::json;
using OpenMM::OpenMMException;
using OpenMM::Vec3;
using std::string;
using std::vector;

namespace KStep {

namespace {

/**
 * E = sum_morse depth (1 - exp(-width (r - length)))^2 + sum_harmonic k/2 (r - length)^2 + sum_ij q_i(x) Q_j C / r_ij,
 * q_i(x) = charge_i + sum_flux slope (r - length) on the first atom of a pair, minus the same on the second.
 */
class AnalyticEngine : public QMEngine {
public:
    explicit AnalyticEngine(const string &text) : settings("test-analytic", text) {
        morse = readPairs("morse", {"depth", "width", "length"});
        harmonic = readPairs("harmonic", {"k", "length"});
        flux = readPairs("flux", {"slope", "length"});
        for (const json &charge : settings.getList("charges")) {
            if (!charge.is_number())
                settings.fail("charges", "must be a list of numbers");
            charges.push_back(charge.get<double>());
        }
        settings.finish();
    }

    void initialize(const QMMolecule &molecule) override {
        numAtoms = molecule.atomicNumbers.size();
        if (charges.empty())
            charges.assign(numAtoms, 0.0);
        if (charges.size() != numAtoms)
            settings.fail("charges", "has " + std::to_string(charges.size()) + " values for " +
                                         std::to_string(numAtoms) + " atoms");
        for (const auto &[key, list] : {std::pair{"morse", &morse}, {"harmonic", &harmonic}, {"flux", &flux}})
            for (const Pair &pair : *list)
                if (pair.first >= numAtoms || pair.second >= numAtoms)
                    settings.fail(key, "names an atom beyond the " + std::to_string(numAtoms) + " of the region");
    }

    void compute(const QMInput &input, QMOutput &output) override {
        output.energy = 0;
        output.gradient.assign(numAtoms, Vec3());
        output.iterations = 0;
        output.attempts = 1;
        addBondTerms(input.positions, output);
        output.atomicCharges = charges;
        for (const Pair &pair : flux) {
            const double shift = pair.values[0] * (distance(input.positions, pair) - pair.values[1]);
            output.atomicCharges[pair.first] += shift;
            output.atomicCharges[pair.second] -= shift;
        }
        addCoulomb(input, output);
        output.dipole = Vec3();
        for (size_t i = 0; i < numAtoms; i++)
            output.dipole += input.positions[i] * output.atomicCharges[i];
    }

    void reset() override {}

private:
    struct Pair {
        size_t first, second;
        vector<double> values;
    };

    vector<Pair> readPairs(const string &key, const vector<string> &names) {
        vector<Pair> pairs;
        for (const json &entry : settings.getList(key)) {
            Pair pair;
            try {
                const json &atoms = entry.at("atoms");
                pair.first = atoms.at(0).get<size_t>();
                pair.second = atoms.at(1).get<size_t>();
                for (const string &name : names)
                    pair.values.push_back(entry.at(name).get<double>());
            } catch (const json::exception &error) {
                settings.fail(key, string("has a bad entry: ") + error.what());
            }
            if (pair.first == pair.second)
                settings.fail(key, "has a pair of an atom with itself");
            pairs.push_back(pair);
        }
        return pairs;
    }

    static double distance(const vector<Vec3> &positions, const Pair &pair) {
        const Vec3 delta = positions[pair.first] - positions[pair.second];
        return std::sqrt(delta.dot(delta));
    }

    static void addPairGradient(const vector<Vec3> &positions, const Pair &pair, double slope, QMOutput &output) {
        const Vec3 delta = positions[pair.first] - positions[pair.second];
        const Vec3 gradient = delta * (slope / std::sqrt(delta.dot(delta)));
        output.gradient[pair.first] += gradient;
        output.gradient[pair.second] -= gradient;
    }

    void addBondTerms(const vector<Vec3> &positions, QMOutput &output) const {
        for (const Pair &pair : morse) {
            const double depth = pair.values[0], width = pair.values[1];
            const double decay = std::exp(-width * (distance(positions, pair) - pair.values[2]));
            output.energy += depth * (1 - decay) * (1 - decay);
            addPairGradient(positions, pair, 2 * depth * width * (1 - decay) * decay, output);
        }
        for (const Pair &pair : harmonic) {
            const double stretch = distance(positions, pair) - pair.values[1];
            output.energy += 0.5 * pair.values[0] * stretch * stretch;
            addPairGradient(positions, pair, pair.values[0] * stretch, output);
        }
    }

    void addCoulomb(const QMInput &input, QMOutput &output) const {
        const size_t numCharges = input.charges.size();
        output.chargeGradient.assign(numCharges, Vec3());
        output.potentialAtCharges.assign(numCharges, 0.0);
        vector<double> potential(numAtoms, 0.0);
        for (size_t j = 0; j < numCharges; j++)
            for (size_t i = 0; i < numAtoms; i++) {
                const Vec3 delta = input.positions[i] - input.chargePositions[j];
                const double inverse = 1 / std::sqrt(delta.dot(delta));
                const double atomTerm = COULOMB_CONSTANT * output.atomicCharges[i] * inverse;
                potential[i] += COULOMB_CONSTANT * input.charges[j] * inverse;
                output.potentialAtCharges[j] += atomTerm;
                const Vec3 gradient = delta * (-atomTerm * input.charges[j] * inverse * inverse);
                output.gradient[i] += gradient;
                output.chargeGradient[j] -= gradient;
            }
        for (size_t i = 0; i < numAtoms; i++)
            output.energy += output.atomicCharges[i] * potential[i];
        for (const Pair &pair : flux)
            addPairGradient(input.positions, pair, pair.values[0] * (potential[pair.first] - potential[pair.second]),
                            output);
    }

    EngineSettings settings;
    size_t numAtoms = 0;
    vector<Pair> morse, harmonic, flux;
    vector<double> charges;
};

} // namespace

std::unique_ptr<QMEngine> createAnalyticEngine(const string &settings) {
    return std::make_unique<AnalyticEngine>(settings);
}

} // namespace KStep
