#ifndef OPENMMKSTEP_TORCHSCRIPTFORCE_H_
#define OPENMMKSTEP_TORCHSCRIPTFORCE_H_

#include "openmm/Context.h"
#include "openmm/Force.h"
#include "openmmkstep/EmbeddingCharges.h"
#include "openmmkstep/Export.h"
#include "openmmkstep/QMRegion.h"
#include <string>
#include <vector>

namespace KStep {

/**
 * A potential from a TorchScript archive, on a subset of the particles, with forces on them and, if it is coupled to an
 * environment, on the embedding charges.
 *
 * The archive is one written by torch.jit.save() with an extra file "contract.json" that says what the module is: kind
 * "potential", units (nm, ps, kJ/mol, amu, e), elements covered, atomic numbers if it was made for one molecule, inputs
 * and outputs. The module is called as
 *
 *     forward(positions)            -> energy, or (energy, forces)
 *     forward(positions, potential) -> (energy, forces, charges)
 *
 * with positions [N, 3] (nm) and the electrostatic potential of the embedding charges at the atoms [N] (kJ/mol/e), both
 * in double precision. The second form is for U(x, phi) = U_gas(x) + sum_i q_i(x) phi_i: forces are those at fixed
 * potential and charges are dU/dphi_i; the force on atom i gets -q_i grad phi_i, the embedding charges the reaction. If
 * only an energy is returned, it is differentiated here.
 *
 * The force is computed on the CPU and added on whatever platform the Context uses.
 */
class KSTEP_EXPORT TorchScriptForce : public OpenMM::Force {
public:
    /**
     * @param archive  the content of the archive (not its name)
     * @param region   the atoms it acts on, in the order of the model's atoms, and after them link atoms
     *
     * @throws OpenMMException if the archive cannot be read, has no contract or one that this version does not
     *         understand, or does not cover these atoms
     */
    TorchScriptForce(const std::string &archive, const QMRegion &region);
    const std::string &getArchive() const { return archive; }
    /** The archive's contract, a JSON document. */
    const std::string &getContract() const { return contract; }
    const QMRegion &getRegion() const { return region; }
    const EmbeddingCharges &getEmbeddingCharges() const { return embeddingCharges; }
    /**
     * Couple the model to embedding charges.
     *
     * @throws OpenMMException if it does not take a potential
     */
    void setEmbeddingCharges(const EmbeddingCharges &charges);
    int getNumThreads() const { return numThreads; }
    /** Set how many threads torch uses in an evaluation (default 1). */
    void setNumThreads(int number);
    const std::string &getCompiledPackage() const { return compiledPackage; }
    /**
     * Evaluate a package that `kstep compile` made from this very archive ahead of time, instead of interpreting the
     * archive.
     *
     * The package is native code for one kind of processor. It is therefore not part of the XML form, which would run
     * whatever code it names: a force that comes out of XML interprets its archive until it is told otherwise. It is
     * loaded when a Context is created, and refused there if it does not give the forces of the archive.
     *
     * @param path  file name of the package; empty for none
     */
    void setCompiledPackage(const std::string &path) { compiledPackage = path; }
    bool usesPeriodicBoundaryConditions() const override { return embeddingCharges.usesPeriodicBoundaryConditions(); }

protected:
    OpenMM::ForceImpl *createImpl() const override;

private:
    std::string archive, contract, compiledPackage;
    QMRegion region;
    EmbeddingCharges embeddingCharges;
    bool takesPotential;
    int numThreads = 1;
};

} // namespace KStep

#endif
