#ifndef OPENMMKSTEP_XTBLIBRARY_H_
#define OPENMMKSTEP_XTBLIBRARY_H_

#include <functional>
#include <string>
#include <vector>

namespace KStep {

/**
 * The functions of libxtb that are used, found at run time (C interface of xtb 6.5, header xtb.h). All handles are
 * opaque pointers; "del" functions take the address of one and clear it.
 */
class XTBLibrary {
public:
    /**
     * Load the library, or return the one that is loaded: that of the Python package xtb, installed beside OpenMM or
     * beside this library, unless useFile() named another.
     *
     * @throws OpenMMException telling how to install it
     */
    static const XTBLibrary &load();
    /**
     * Use another libxtb in this process.
     *
     * @param path  libxtb itself, or the folder that holds it
     * @throws OpenMMException if one is loaded already
     */
    static void useFile(const std::string &path);
    /**
     * Run a function with a number of OpenMP and BLAS threads, alone inside libxtb (which keeps state of its own) and
     * on a large stack (on which it puts arrays of the size of the molecule squared).
     */
    void run(int threads, const std::function<void()> &function) const;

    using Handle = void *;
    /** The error that libxtb has to report, empty if there is none. Clears it. */
    std::string takeError(Handle environment) const;
    Handle (*newEnvironment)();
    Handle (*newCalculator)();
    Handle (*newResults)();
    Handle (*newMolecule)(Handle env, const int *natoms, const int *numbers, const double *positions,
                          const double *charge, const int *uhf, const double *lattice, const bool *periodic);
    void (*delEnvironment)(Handle *);
    void (*delCalculator)(Handle *);
    void (*delResults)(Handle *);
    void (*delMolecule)(Handle *);
    void (*updateMolecule)(Handle env, Handle molecule, const double *positions, const double *lattice);
    int (*checkEnvironment)(Handle env);
    void (*getError)(Handle env, char *buffer, const int *size);
    void (*setVerbosity)(Handle env, int level);
    void (*setOutput)(Handle env, const char *file);
    void (*releaseOutput)(Handle env);
    void (*loadGFNFF)(Handle env, Handle molecule, Handle calculator, char *file);
    void (*loadGFN1xTB)(Handle env, Handle molecule, Handle calculator, char *file);
    void (*loadGFN2xTB)(Handle env, Handle molecule, Handle calculator, char *file);
    void (*setAccuracy)(Handle env, Handle calculator, double accuracy);
    void (*setElectronicTemp)(Handle env, Handle calculator, double temperature);
    void (*setMaxIter)(Handle env, Handle calculator, int iterations);
    void (*setExternalCharges)(Handle env, Handle calculator, int *n, int *numbers, double *charges, double *positions);
    void (*releaseExternalCharges)(Handle env, Handle calculator);
    void (*singlepoint)(Handle env, Handle molecule, Handle calculator, Handle results);
    void (*getEnergy)(Handle env, Handle results, double *energy);
    void (*getGradient)(Handle env, Handle results, double *gradient);
    void (*getPCGradient)(Handle env, Handle results, double *gradient);
    void (*getCharges)(Handle env, Handle results, double *charges);
    void (*getDipole)(Handle env, Handle results, double *dipole);
    void (*getNumOrbitals)(Handle env, Handle results, int *number);
    void (*getOrbitalEnergies)(Handle env, Handle results, double *energies);
    void (*getOrbitalOccupations)(Handle env, Handle results, double *occupations);

private:
    explicit XTBLibrary(const std::string &path);
    void findThreadControls(void *xtb);
    void setThreads(int threads) const;
    void (*openblasSetNumThreads)(int) = nullptr;
    std::vector<void (*)(int)> openMPSetNumThreads;
};

} // namespace KStep

#endif
