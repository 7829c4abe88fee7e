#ifndef OPENMMKSTEP_REGIONSITES_H_
#define OPENMMKSTEP_REGIONSITES_H_

#include "openmm/System.h"
#include "openmm/Vec3.h"
#include "openmmkstep/EmbeddingCharges.h"
#include "openmmkstep/Export.h"
#include "openmmkstep/QMRegion.h"
#include <string>
#include <vector>

namespace KStep {

/**
 * The sites of a region at one geometry: its atoms in one piece, followed by its link atoms; and the way back from
 * forces on sites to forces on particles. All levels of theory see the same sites.
 */
class KSTEP_EXPORT RegionSites {
public:
    /**
     * @param region    the region; it must be valid and outlive this object
     * @param system    the System it refers to
     * @param periodic  whether the region may lie across faces of the periodic box
     * @param owner     the name of the force, for error messages
     */
    RegionSites(const QMRegion &region, const OpenMM::System &system, bool periodic, const std::string &owner);
    /**
     * Place the sites.
     *
     * In a periodic box the atoms are joined to their nearest neighbours, shortest distances first (the minimum
     * spanning tree), which puts molecules, and molecules that touch, in one piece wherever the box cuts them.
     *
     * @param positions  positions of all particles of the System (nm)
     * @param box        periodic box vectors (nm), used only in a periodic box
     * @throws OpenMMException if a position is not finite
     */
    void place(const std::vector<OpenMM::Vec3> &positions, const OpenMM::Vec3 box[3]);
    /**
     * Whether place() has put atoms beside other images of each other than at the accepted geometry, although they have
     * hardly moved. That happens to a region that reaches around the box, whose parts are as near to the images of
     * others as to each other: what depends on the sites may jump there.
     */
    bool haveImagesChanged() const { return !former.empty(); }
    /** Where the sites would be if the images had not changed (nm). Empty if they have not. */
    const std::vector<OpenMM::Vec3> &getFormerPositions() const { return former; }
    /** Take the present images for those that the next geometries are compared with. */
    void accept() { accepted = sites; }
    /** Positions of the sites (nm): atoms in one piece, then link atoms. */
    const std::vector<OpenMM::Vec3> &getPositions() const { return sites; }
    int getNumAtoms() const { return static_cast<int>(region.getParticles().size()); }
    /**
     * Give forces on sites to particles; that on a link atom is shared by the two particles that place it.
     *
     * @param siteForces  forces on the sites (kJ/mol/nm)
     * @param forces      forces on all particles of the System, which are added to
     */
    void addForces(const std::vector<OpenMM::Vec3> &siteForces, std::vector<OpenMM::Vec3> &forces) const;

private:
    void makeWhole(const OpenMM::Vec3 box[3]);
    void placeLinkAtoms(std::vector<OpenMM::Vec3> &places, const std::vector<OpenMM::Vec3> &positions,
                        const OpenMM::Vec3 box[3]) const;
    bool findFormerImages(const OpenMM::Vec3 box[3]);
    const QMRegion &region;
    bool periodic;
    std::string owner;
    std::vector<int> indexInRegion; // of each particle of the System, -1 outside
    std::vector<OpenMM::Vec3> sites, accepted, former;
    std::vector<OpenMM::Vec3> placed;
    std::vector<double> distances;
    std::vector<char> isDone;
};

/** The particles on whose positions the energy of a region in embedding charges depends. */
KSTEP_EXPORT std::vector<int> involvedParticles(const QMRegion &region, const EmbeddingCharges &charges);

/** Recognises a geometry that was seen before, so that a question asked twice costs one evaluation. */
class KSTEP_EXPORT LastGeometry {
public:
    /**
     * @param particles  on whose positions the result depends
     * @param periodic   whether it depends on the box too
     */
    LastGeometry(const std::vector<int> &particles, bool periodic);
    /** Whether this is, to the last bit, the geometry that remember() was called with last. */
    bool matches(const std::vector<OpenMM::Vec3> &positions, const OpenMM::Vec3 box[3]) const;
    void remember(const std::vector<OpenMM::Vec3> &positions, const OpenMM::Vec3 box[3]);
    void forget() { isKnown = false; }
    bool isRemembered() const { return isKnown; }

private:
    std::vector<int> particles;
    bool periodic, isKnown = false;
    std::vector<OpenMM::Vec3> known;
    OpenMM::Vec3 knownBox[3];
};

} // namespace KStep

#endif
