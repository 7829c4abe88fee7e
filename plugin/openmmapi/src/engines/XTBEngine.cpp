#include "BuiltInEngines.h"
#include "EngineSettings.h"
#include "OddRotation.h"
#include "PotentialByQuadrature.h"
#include "XTBLibrary.h"
#include "openmm/OpenMMException.h"
#include <cmath>
#include <numeric>
#include <utility>

using OpenMM::OpenMMException;
using OpenMM::Vec3;
using std::string;
using std::to_string;
using std::vector;

namespace KStep {

namespace {

// CODATA 2018. libxtb's interface is in atomic units throughout, so no constant of its own takes part.
constexpr double NM_PER_BOHR = 0.0529177210903;
constexpr double KJMOL_PER_HARTREE = 2625.4996394798254;

/** Probe charges must not disturb the calculation; the gradient on them is linear in them, so any value does. */
constexpr double PROBE_CHARGE = 1e-20;

/** Valence electrons in GFN1-xTB and GFN2-xTB, which count closed d and f shells as core. */
int countValenceElectrons(int number) {
    constexpr int cores[] = {0, 2, 10, 18, 36, 54};
    int core = 0;
    for (const int candidate : cores)
        if (number > candidate)
            core = candidate;
    const int outer = number - core;
    if (core < 18)
        return outer;
    if (core < 54)
        return outer <= 11 ? outer : outer - 10;
    if (outer <= 3)
        return outer;
    if (outer <= 17)
        return 3;
    return outer <= 25 ? outer - 14 : outer - 24;
}

/** A handle of libxtb that is deleted unless it is released. */
class Owned {
public:
    Owned(XTBLibrary::Handle handle, void (*remove)(XTBLibrary::Handle *)) : handle(handle), remove(remove) {}
    Owned(const Owned &) = delete;
    Owned &operator=(const Owned &) = delete;
    ~Owned() {
        if (handle != nullptr)
            remove(&handle);
    }
    XTBLibrary::Handle get() const { return handle; }
    XTBLibrary::Handle release() { return std::exchange(handle, nullptr); }

private:
    XTBLibrary::Handle handle;
    void (*remove)(XTBLibrary::Handle *);
};

class XTBEngine : public QMEngine {
public:
    XTBEngine(const string &method, const string &text) : method(method), secondGeneration(method == "gfn2-xtb") {
        EngineSettings settings(method, text);
        accuracy = settings.getNumber("accuracy", 0.01, 1e-4, 1000.0);
        temperature = settings.getNumber("electronic_temperature", 300.0, 0.0, 100000.0);
        maxIterations = settings.getInteger("max_iterations", 250, 1, 100000);
        threads = settings.getInteger("threads", 1, 1, 1024);
        settings.finish();
    }
    XTBEngine(const XTBEngine &) = delete;
    XTBEngine &operator=(const XTBEngine &) = delete;

    ~XTBEngine() override {
        if (environment == nullptr)
            return;
        library->run(threads, [this] {
            forgetResults();
            if (calculator != nullptr)
                library->delCalculator(&calculator);
            if (molecule != nullptr)
                library->delMolecule(&molecule);
            library->delEnvironment(&environment);
        });
    }

    void initialize(const QMMolecule &description) override {
        int electrons = -description.charge;
        for (const int number : description.atomicNumbers) {
            if (number < 1 || number > 86)
                throw OpenMMException(method + " covers the elements 1 to 86, not " + to_string(number));
            if (number >= 58 && number <= 70)
                throw OpenMMException(method + " has the f electrons of element " + to_string(number) +
                                      " in the core, so a multiplicity cannot be assigned; use another QM engine");
            electrons += countValenceElectrons(number);
        }
        const int unpaired = description.multiplicity - 1;
        if (electrons < 1 || unpaired > electrons)
            throw OpenMMException(method + ": charge " + to_string(description.charge) + " and multiplicity " +
                                  to_string(description.multiplicity) + " are impossible with " + to_string(electrons) +
                                  " valence electrons");
        numbers = description.atomicNumbers;
        charge = description.charge;
        numUnpaired = unpaired;
        library = &XTBLibrary::load();
    }

    void compute(const QMInput &input, QMOutput &output) override {
        vector<int> probed;
        vector<Vec3> probedPositions;
        for (size_t i = 0; i < input.needsPotential.size(); i++)
            if (input.needsPotential[i]) {
                probed.push_back(static_cast<int>(i));
                probedPositions.push_back(input.chargePositions[i]);
            }
        const PotentialByQuadrature probes(input.positions, probedPositions);
        library->run(threads, [&] {
            chooseFrame(input.positions);
            setGeometry(input.positions);
            setCharges(input, probes.getPositions());
            output.attempts = runSinglePoint();
            output.iterations = -1;
            readResults(output);
            readChargeGradients(input, probes, probed, output);
        });
    }

    std::optional<QMOrbitals> getOrbitals() override {
        if (results == nullptr)
            return std::nullopt;
        QMOrbitals orbitals;
        library->run(threads, [&] {
            int number = 0;
            library->getNumOrbitals(environment, results, &number);
            check("return the number of orbitals");
            orbitals.energies.resize(number);
            orbitals.occupations.resize(number);
            library->getOrbitalEnergies(environment, results, orbitals.energies.data());
            library->getOrbitalOccupations(environment, results, orbitals.occupations.data());
            check("return its orbitals");
        });
        for (double &energy : orbitals.energies)
            energy *= KJMOL_PER_HARTREE;
        return orbitals;
    }

    void reset() override {
        if (results != nullptr)
            library->run(threads, [this] { forgetResults(); });
    }

private:
    void forgetResults() {
        if (results != nullptr)
            library->delResults(&results);
        results = nullptr;
    }

    void check(const string &task) {
        const string message = library->takeError(environment);
        if (!message.empty())
            throw OpenMMException(method + ": libxtb failed to " + task + ": " + message);
    }

    /**
     * The frame of libxtb's coordinates. It takes multipole integrals about the origin, far from which they lose digits
     * (1e-8 hartree at 5 nm); and its gradient is wrong where two atoms share a coordinate to 1e-9 bohr, as they do in
     * flat molecules and at the precision of PDB files, so coordinates are turned until no two atoms do.
     */
    void chooseFrame(const vector<Vec3> &positions) {
        origin = std::accumulate(positions.begin(), positions.end(), Vec3()) * (1.0 / numbers.size());
        if (!rotation.separates(positions)) {
            // The last density is one in the frame before.
            forgetResults();
            rotation = OddRotation::find(positions);
        }
    }

    void setGeometry(const vector<Vec3> &positions) {
        vector<double> bohr = toBohr(positions);
        if (calculator != nullptr) {
            library->updateMolecule(environment, molecule, bohr.data(), nullptr);
            check("take the geometry");
            return;
        }
        if (environment == nullptr) {
            environment = library->newEnvironment();
            library->setVerbosity(environment, 0);
        }
        // What failed half way is not kept: the next geometry begins anew.
        if (molecule == nullptr) {
            const int numAtoms = static_cast<int>(numbers.size());
            const double totalCharge = charge;
            Owned fresh(library->newMolecule(environment, &numAtoms, numbers.data(), bohr.data(), &totalCharge,
                                             &numUnpaired, nullptr, nullptr),
                        library->delMolecule);
            check("set up the molecule");
            molecule = fresh.release();
        } else {
            library->updateMolecule(environment, molecule, bohr.data(), nullptr);
            check("take the geometry");
        }
        Owned fresh(library->newCalculator(), library->delCalculator);
        (secondGeneration ? library->loadGFN2xTB : library->loadGFN1xTB)(environment, molecule, fresh.get(), nullptr);
        check("load the parameters");
        library->setAccuracy(environment, fresh.get(), accuracy);
        library->setElectronicTemp(environment, fresh.get(), temperature);
        library->setMaxIter(environment, fresh.get(), maxIterations);
        check("take the settings");
        calculator = fresh.release();
    }

    vector<double> toBohr(const vector<Vec3> &positions) const {
        vector<double> bohr(3 * positions.size());
        for (size_t i = 0; i < positions.size(); i++) {
            const Vec3 turned = rotation.apply(positions[i] - origin);
            for (int k = 0; k < 3; k++)
                bohr[3 * i + k] = turned[k] / NM_PER_BOHR;
        }
        return bohr;
    }

    void setCharges(const QMInput &input, const vector<Vec3> &probes) {
        vector<Vec3> positions = input.chargePositions;
        positions.insert(positions.end(), probes.begin(), probes.end());
        vector<double> values = input.charges;
        values.resize(positions.size(), PROBE_CHARGE);
        numCharges = static_cast<int>(values.size());
        if (numCharges == 0) {
            if (hasCharges)
                library->releaseExternalCharges(environment, calculator);
            hasCharges = false;
            return;
        }
        // libxtb smears each charge by the hardness of an element. Only the hardest element of a parametrization comes
        // close to a point charge: interaction energies of ethanol with water then agree with DFT to 1-2 kJ/mol, with
        // the true elements they are off by 3 (GFN1) and 11 (GFN2).
        vector<int> elements(numCharges, secondGeneration ? 84 : 2);
        vector<double> bohr = toBohr(positions);
        library->setExternalCharges(environment, calculator, &numCharges, elements.data(), values.data(), bohr.data());
        hasCharges = true;
        check("take the point charges");
    }

    /** Returns the number of attempts: a calculation that fails from the last density is repeated from scratch. */
    int runSinglePoint() {
        string firstError;
        for (int attempt = 1;; attempt++) {
            const bool warm = results != nullptr;
            if (!warm)
                results = library->newResults();
            library->singlepoint(environment, molecule, calculator, results);
            string message = library->takeError(environment);
            if (message.empty()) {
                double energy = 0;
                library->getEnergy(environment, results, &energy);
                message = library->takeError(environment);
                if (message.empty() && !std::isfinite(energy))
                    message = "the energy is not a finite number";
            }
            if (message.empty())
                return attempt;
            forgetResults();
            if (!warm)
                throw OpenMMException(method + ": the calculation failed: " + message +
                                      "\nCheck the geometry, charge and multiplicity of the QM region; raising "
                                      "'max_iterations' or 'electronic_temperature' helps difficult cases.");
        }
    }

    void readResults(QMOutput &output) {
        const size_t numAtoms = numbers.size();
        double energy = 0;
        vector<double> gradient(3 * numAtoms), dipole(3);
        output.atomicCharges.resize(numAtoms);
        library->getEnergy(environment, results, &energy);
        library->getGradient(environment, results, gradient.data());
        library->getCharges(environment, results, output.atomicCharges.data());
        library->getDipole(environment, results, dipole.data());
        check("return its results");
        output.energy = energy * KJMOL_PER_HARTREE;
        output.gradient.resize(numAtoms);
        for (size_t i = 0; i < numAtoms; i++)
            output.gradient[i] = toGradient(&gradient[3 * i]);
        output.dipole = rotation.undo(Vec3(dipole[0], dipole[1], dipole[2])) * NM_PER_BOHR + origin * charge;
    }

    void readChargeGradients(const QMInput &input, const PotentialByQuadrature &probes, const vector<int> &probed,
                             QMOutput &output) {
        const size_t numReal = input.charges.size();
        vector<double> gradient(3 * static_cast<size_t>(numCharges), 0.0);
        if (numCharges > 0) {
            library->getPCGradient(environment, results, gradient.data());
            check("return the gradient on the point charges");
        }
        output.chargeGradient.resize(numReal);
        for (size_t i = 0; i < numReal; i++)
            output.chargeGradient[i] = toGradient(&gradient[3 * i]);
        vector<Vec3> field(probes.getPositions().size());
        for (size_t i = 0; i < field.size(); i++)
            field[i] = toGradient(&gradient[3 * (numReal + i)]) * (1 / PROBE_CHARGE);
        const vector<double> potential = probes.integrate(field);
        output.potentialAtCharges.assign(numReal, 0.0);
        for (size_t i = 0; i < probed.size(); i++)
            output.potentialAtCharges[probed[i]] = potential[i];
    }

    Vec3 toGradient(const double *atomic) const {
        return rotation.undo(Vec3(atomic[0], atomic[1], atomic[2])) * (KJMOL_PER_HARTREE / NM_PER_BOHR);
    }

    string method;
    bool secondGeneration;
    double accuracy, temperature;
    int maxIterations, threads;
    const XTBLibrary *library = nullptr;
    vector<int> numbers;
    int charge = 0, numUnpaired = 0;
    int numCharges = 0;
    Vec3 origin; // of the coordinates that libxtb sees
    OddRotation rotation;
    bool hasCharges = false;
    XTBLibrary::Handle environment = nullptr, molecule = nullptr, calculator = nullptr, results = nullptr;
};

} // namespace

std::unique_ptr<QMEngine> createXTBEngine(const string &method, const string &settings) {
    return std::make_unique<XTBEngine>(method, settings);
}

} // namespace KStep
