#ifndef OPENMMKSTEP_ELECTRONDYNAMICSMODEL_H_
#define OPENMMKSTEP_ELECTRONDYNAMICSMODEL_H_

#include "openmm/Vec3.h"
#include "openmmkstep/Export.h"
#include <complex>
#include <memory>
#include <string>
#include <vector>

namespace KStep {

/**
 * The learned response of the exchange-correlation potential of a molecule, and the motion of its electrons in time
 * with a Fock matrix that is linear in the density; both from one TorchScript archive.
 *
 * The archive is one written by kstep_models.rttddft.export: it has a contract of kind "fxc" and a module with
 *
 *     forward(numbers, positions) -> (response, density)
 *
 * and the time steps of kstep_models.rttddft.propagation. Nothing else is needed to run them. The usual way is: call
 * computeResponse() for a geometry; with it and the fit coefficients of orbital products make the response over pairs
 * of orbital functions; add Coulomb and exchange; call setGroundState(), start() and, as often as needed, advance().
 *
 * Unlike elsewhere in this plugin everything is in atomic units: lengths in bohr, energies in hartree, times in
 * hbar/hartree, fields in hartree/(e bohr). Matrices are given row after row. Closed shells only. Orbitals and matrices
 * of n functions are those of the orthonormal basis of Loewdin, in which the electrons obey i dC/dt = F(t) C with
 *
 *     F = F0 + unpack(R pack(Re dP)) + i unpack'(I pack'(Im dP)) + E(t).r,   dP = 2 (C C^+ - C0 C0^+)
 *
 * where pack() takes the elements p <= q of a symmetric matrix, row after row, and pack'() the elements p < q of an
 * antisymmetric one, those off the diagonal times the root of two.
 *
 * An object must not be used by several threads at the same time.
 */
class KSTEP_EXPORT ElectronDynamicsModel {
public:
    /** Response and density in the auxiliary basis of M functions. */
    struct Response {
        int numFunctions = 0;
        /** Response of the exchange-correlation potential between auxiliary functions [M,M] (hartree). */
        std::vector<double> response;
        /** Coefficients of the electron density of the ground state [M]. */
        std::vector<double> density;
    };
    /** What the steps of a molecule of n functions with o occupied orbitals start from. */
    struct GroundState {
        int numFunctions = 0;
        int numOccupied = 0;
        /** Fock matrix F0 [n,n] */
        std::vector<double> fock;
        /** occupied orbitals C0 [n,o] */
        std::vector<std::complex<double>> orbitals;
        /** matrices of the electron's position x, y and z [3,n,n] */
        std::vector<double> position;
        /** R [m,m] with m = n(n+1)/2: Coulomb, minus exchange, plus response of the exchange-correlation potential */
        std::vector<double> realResponse;
        /** I [m',m'] with m' = n(n-1)/2: minus exchange; empty if there is no exact exchange */
        std::vector<double> imaginaryResponse;
        double energy = 0;
        /** of nuclei and electrons */
        OpenMM::Vec3 dipole;
    };
    /** Everything that the next step depends on. */
    struct State {
        /** occupied orbitals [n,o] */
        std::vector<std::complex<double>> orbitals;
        /** field-free Fock matrices [h,n,n] from which those ahead are guessed, that of this time last; h is 1 to 3 */
        std::vector<std::complex<double>> history;
    };
    /** Observables after each of a number of steps. */
    struct Series {
        /** dipole moments of nuclei and electrons (e bohr) */
        std::vector<OpenMM::Vec3> dipoles;
        /** energies without the external field (hartree) */
        std::vector<double> energies;
        /** how many Fock matrices each step took */
        std::vector<int> fockBuilds;
    };

    /**
     * @param archive  the content of the archive (not its name)
     *
     * @throws OpenMMException if the archive cannot be read, has no contract or one that this version does not
     * understand, is of another kind than "fxc", or lacks the time steps
     */
    explicit ElectronDynamicsModel(const std::string &archive);
    ~ElectronDynamicsModel();
    /** The archive's contract, a JSON document. */
    const std::string &getContract() const { return contractText; }
    int getNumThreads() const { return numThreads; }
    /** Set how many threads torch uses (default 1). */
    void setNumThreads(int number);
    /**
     * Evaluate the network.
     *
     * @param atomicNumbers  of the atoms
     * @param positions      of the atoms (bohr)
     *
     * @throws OpenMMException if the model does not cover these atoms, or does not return finite values of the size
     * of its auxiliary basis
     */
    Response computeResponse(const std::vector<int> &atomicNumbers, const std::vector<OpenMM::Vec3> &positions);
    /**
     * Set the molecule of which start() and advance() move the electrons.
     *
     * @throws OpenMMException if the sizes do not go together
     */
    void setGroundState(const GroundState &ground);
    /**
     * The times within a step at which advance() needs the field, in units of the step.
     *
     * @param scheme  "magnus2" (second order) or "cfm4" (fourth order)
     */
    std::vector<double> getFieldFractions(const std::string &scheme);
    /**
     * The state at the time 0 of occupied orbitals.
     *
     * @param orbitals  [n,o]: those of the ground state, or what a kick made of them
     */
    State start(const std::vector<std::complex<double>> &orbitals);
    /**
     * Take steps. Taking them in several calls gives the same as in one, to the last bit.
     *
     * @param state          is advanced; left alone if a step fails
     * @param scheme         "magnus2" or "cfm4"; the same as for the steps before
     * @param fields         external field at the times of getFieldFractions() in the first step, then in the second...
     * @param timeStep       the same as for the steps before
     * @param tolerance      of a step: the largest element by which a Fock matrix may differ between two iterations,
     * times the time step
     * @param maxIterations  before a step is given up
     *
     * @throws OpenMMException if a step does not become self-consistent, and for arguments that make no sense
     */
    Series advance(State &state, const std::string &scheme, const std::vector<OpenMM::Vec3> &fields, double timeStep,
                   double tolerance = 1e-9, int maxIterations = 30);

private:
    struct Implementation;
    void requireGroundState() const;
    std::unique_ptr<Implementation> implementation;
    std::string contractText;
    int numThreads = 1;
};

} // namespace KStep

#endif
