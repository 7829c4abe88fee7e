#include "BuiltInEngines.h"
#include "EngineSettings.h"
#include "PrivateFolder.h"
#include "XTBLibrary.h"
#include "openmm/OpenMMException.h"
#include <limits>

using OpenMM::OpenMMException;
using OpenMM::Vec3;
using std::string;
using std::to_string;
using std::vector;

namespace KStep {

namespace {

// CODATA 2018, as in XTBEngine.cpp.
constexpr double NM_PER_BOHR = 0.0529177210903;
constexpr double KJMOL_PER_HARTREE = 2625.4996394798254;

/**
 * GFN-FF (Spicher and Grimme, Angew. Chem. Int. Ed. 59, 15665 (2020)). The force field of a molecule is made at its
 * first geometry, from the bonds that it finds there, and stays as it is until reset(). libxtb has no point charges
 * for it, and gives neither atomic charges nor a dipole moment.
 */
class GFNFFEngine : public QMEngine {
public:
    explicit GFNFFEngine(const string &text) {
        EngineSettings settings(NAME, text);
        threads = settings.getInteger("threads", 1, 1, 1024);
        settings.finish();
    }
    GFNFFEngine(const GFNFFEngine &) = delete;
    GFNFFEngine &operator=(const GFNFFEngine &) = delete;
    ~GFNFFEngine() override {
        if (environment != nullptr)
            library->run(threads, [this] { forget(); });
    }

    void initialize(const QMMolecule &description) override {
        for (const int number : description.atomicNumbers)
            if (number < 1 || number > 86)
                throw OpenMMException(string(NAME) + " covers the elements 1 to 86, not " + to_string(number));
        numbers = description.atomicNumbers;
        charge = description.charge;
        numUnpaired = description.multiplicity - 1;
        library = &XTBLibrary::load();
    }

    void compute(const QMInput &input, QMOutput &output) override {
        if (!input.charges.empty())
            throw OpenMMException(string(NAME) + " takes no point charges: use mechanical embedding");
        vector<double> bohr;
        for (const Vec3 &position : input.positions)
            for (int k = 0; k < 3; k++)
                bohr.push_back((position[k] - input.positions[0][k]) / NM_PER_BOHR);
        double energy = 0;
        vector<double> gradient(bohr.size());
        library->run(threads, [&] {
            if (calculator == nullptr)
                setUp(bohr);
            else
                library->updateMolecule(environment, molecule, bohr.data(), nullptr);
            check("take the geometry");
            library->singlepoint(environment, molecule, calculator, results);
            check("calculate: look at the geometry");
            library->getEnergy(environment, results, &energy);
            library->getGradient(environment, results, gradient.data());
            check("return its results");
        });
        const double unknown = std::numeric_limits<double>::quiet_NaN();
        output.energy = energy * KJMOL_PER_HARTREE;
        output.gradient.clear();
        for (size_t i = 0; i < gradient.size(); i += 3)
            output.gradient.push_back(Vec3(gradient[i], gradient[i + 1], gradient[i + 2]) *
                                      (KJMOL_PER_HARTREE / NM_PER_BOHR));
        output.chargeGradient.clear();
        output.potentialAtCharges.clear();
        output.atomicCharges.assign(numbers.size(), unknown);
        output.dipole = Vec3(unknown, unknown, unknown);
        output.iterations = -1;
        output.attempts = 1;
    }

    void reset() override {
        if (environment != nullptr)
            library->run(threads, [this] { forget(); });
    }

private:
    static constexpr const char *NAME = "gfn-ff";

    /** Make the force field. libxtb writes files and a protocol meanwhile, whatever its verbosity. */
    void setUp(const vector<double> &bohr) {
        const PrivateFolder folder;
        forget();
        environment = library->newEnvironment();
        library->setVerbosity(environment, 0);
        library->setOutput(environment, "protocol");
        const int numAtoms = static_cast<int>(numbers.size());
        const double totalCharge = charge;
        molecule = library->newMolecule(environment, &numAtoms, numbers.data(), bohr.data(), &totalCharge, &numUnpaired,
                                        nullptr, nullptr);
        calculator = library->newCalculator();
        results = library->newResults();
        library->loadGFNFF(environment, molecule, calculator, nullptr);
        library->releaseOutput(environment);
        check("make the force field");
    }

    void check(const string &task) {
        const string message = library->takeError(environment);
        if (message.empty())
            return;
        // What failed half way is not kept.
        forget();
        throw OpenMMException(string(NAME) + ": libxtb failed to " + task + ": " + message);
    }

    void forget() {
        if (results != nullptr)
            library->delResults(&results);
        if (calculator != nullptr)
            library->delCalculator(&calculator);
        if (molecule != nullptr)
            library->delMolecule(&molecule);
        if (environment != nullptr)
            library->delEnvironment(&environment);
        results = calculator = molecule = environment = nullptr;
    }

    int threads;
    const XTBLibrary *library = nullptr;
    vector<int> numbers;
    int charge = 0, numUnpaired = 0;
    XTBLibrary::Handle environment = nullptr, molecule = nullptr, calculator = nullptr, results = nullptr;
};

} // namespace

std::unique_ptr<QMEngine> createGFNFFEngine(const string &settings) {
    return std::make_unique<GFNFFEngine>(settings);
}

} // namespace KStep
