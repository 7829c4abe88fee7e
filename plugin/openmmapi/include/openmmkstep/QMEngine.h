#ifndef OPENMMKSTEP_QMENGINE_H_
#define OPENMMKSTEP_QMENGINE_H_

#include "openmm/Vec3.h"
#include "openmmkstep/Export.h"
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace KStep {

/** What an engine calculates, apart from the geometry: fixed for the lifetime of an engine. */
struct QMMolecule {
    std::vector<int> atomicNumbers;
    int charge = 0;
    int multiplicity = 1;
};

/** One geometry. Lengths in nm, charges in e. */
struct QMInput {
    std::vector<OpenMM::Vec3> positions;
    std::vector<OpenMM::Vec3> chargePositions;
    std::vector<double> charges;
    /** At which charges the potential of the QM region is needed: 1 or 0 (a vector<bool> could not be handed on). */
    std::vector<char> needsPotential;
};

/** What an engine returns. Energies in kJ/mol, lengths in nm, charges in e. */
struct QMOutput {
    double energy = 0;
    /** dE/dr of the atoms. */
    std::vector<OpenMM::Vec3> gradient;
    /** dE/dr of the point charges. */
    std::vector<OpenMM::Vec3> chargeGradient;
    /** dE/dq of the point charges, that is, the electrostatic potential of the QM region there, where it was needed. */
    std::vector<double> potentialAtCharges;
    /** NaN if the engine does not tell them, as in the dipole moment. */
    std::vector<double> atomicCharges;
    /** Dipole moment of the QM region, e nm, relative to the origin of the coordinates. */
    OpenMM::Vec3 dipole;
    /** Number of self-consistent iterations, or -1 if the engine does not tell. */
    int iterations = -1;
    /** How often the calculation had to be started: 1 unless it failed to converge from the last density. */
    int attempts = 1;
};

/** Molecular orbitals: energies in kJ/mol, ascending, and occupations, 0 to 2. */
struct QMOrbitals {
    std::vector<double> energies;
    std::vector<double> occupations;
};

/**
 * A method that gives the energy of a QM region in a field of point charges. An engine belongs to one Context. It may
 * start from the density of its last calculation; after reset() it must forget it.
 */
class KSTEP_EXPORT QMEngine {
public:
    virtual ~QMEngine() = default;
    /**
     * Prepare for a molecule, without calculating anything.
     *
     * @throws OpenMMException for elements, charges or multiplicities that the engine cannot treat
     */
    virtual void initialize(const QMMolecule &molecule) = 0;
    /**
     * Calculate energy and derivatives.
     *
     * @throws OpenMMException if the calculation fails, above all if it does not converge
     */
    virtual void compute(const QMInput &input, QMOutput &output) = 0;
    /** The orbitals of the last calculation; nothing if there was none since reset(), or if the method has none. */
    virtual std::optional<QMOrbitals> getOrbitals() { return std::nullopt; }
    /** Forget everything that earlier calculations left behind. */
    virtual void reset() = 0;
    /**
     * What the next calculation starts from, for recall() of another engine for the same molecule; checkpoints keep it.
     * An engine that cannot tell forgets it and gives nothing.
     */
    virtual std::string getMemory() {
        reset();
        return {};
    }
    /**
     * Go on as the engine would whose getMemory() this is. What cannot be used is no error: there is nothing to start
     * from then.
     */
    virtual void recall(const std::string & /*memory*/) { reset(); }
};

/** Makes an engine from its settings, a JSON object. */
using QMEngineFactory = std::function<std::unique_ptr<QMEngine>(const std::string &settings)>;

/** The engines by name: those in this library, and those that others add. */
class KSTEP_EXPORT QMEngineRegistry {
public:
    /** Add an engine, or replace the one of this name. Called by code that the user has loaded, never by files. */
    static void registerEngine(const std::string &name, QMEngineFactory factory);
    /** All engines by name, but those that are there for tests only (their names begin with "test-"). */
    static std::vector<std::string> getEngineNames();
    /** The engines that are registered here, without foreign ones. */
    static std::vector<std::string> getNativeNames();
    /**
     * Engines that a language binding offers and that are looked for by name when they are asked for.
     *
     * @param names    gives their names
     * @param factory  makes one of them from its name and settings
     */
    static void
    setForeignEngines(std::function<std::vector<std::string>()> names,
                      std::function<std::unique_ptr<QMEngine>(const std::string &, const std::string &)> factory);
    /**
     * Make an engine.
     *
     * @throws OpenMMException for an unknown name, for settings that are not a JSON object, and for settings that the
     *         engine does not know
     */
    static std::unique_ptr<QMEngine> createEngine(const std::string &name, const std::string &settings);
};

} // namespace KStep

#endif
