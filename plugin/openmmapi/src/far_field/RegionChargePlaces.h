#ifndef OPENMMKSTEP_REGIONCHARGEPLACES_H_
#define OPENMMKSTEP_REGIONCHARGEPLACES_H_

#include "openmm/System.h"
#include "openmm/Vec3.h"
#include "openmmkstep/EmbeddingCharges.h"
#include "openmmkstep/QMRegion.h"
#include "openmmkstep/RegionCharge.h"
#include <string>
#include <vector>

namespace KStep {

/** Where the force field's charges of a region are: at its atoms in one piece, or beside them as virtual sites. */
class RegionChargePlaces {
public:
    /**
     * @param region     the region
     * @param charges    its charges
     * @param embedding  the charges around it
     * @param system     the System that all refer to
     * @param owner      the name of the force, for error messages
     * @throws OpenMMException for charges that are not finite, particles that are neither atoms of the region nor
     *         virtual sites that these define, and particles with two charges
     */
    RegionChargePlaces(const QMRegion &region, const std::vector<RegionCharge> &charges,
                       const EmbeddingCharges &embedding, const OpenMM::System &system, const std::string &owner);
    /**
     * Find the places.
     *
     * @param sites      the atoms of the region in one piece; link atoms may follow
     * @param positions  positions of all particles of the System
     * @param box        periodic box vectors, used only in a periodic box
     */
    void place(const std::vector<OpenMM::Vec3> &sites, const std::vector<OpenMM::Vec3> &positions,
               const OpenMM::Vec3 box[3]);
    /** Positions of the charges, in the order in which they were given. */
    const std::vector<OpenMM::Vec3> &getPositions() const { return places; }
    int getParticle(size_t index) const { return hosts[index].particle; }

private:
    struct Host {
        int particle, atom;
        bool isAtom;
    };
    int findHost(int particle, const OpenMM::System &system) const;
    std::vector<int> atoms;
    bool periodic;
    std::vector<Host> hosts;
    std::vector<OpenMM::Vec3> places;
};

} // namespace KStep

#endif
