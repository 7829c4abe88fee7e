#include "openmmkstep/QMRegion.h"
#include "openmm/OpenMMException.h"
#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <utility>

using OpenMM::OpenMMException;
using std::string;
using std::to_string;

namespace KStep {

int QMRegion::addAtom(int particle, int atomicNumber) {
    particles.push_back(particle);
    atomicNumbers.push_back(atomicNumber);
    return static_cast<int>(particles.size()) - 1;
}

int QMRegion::addLinkAtom(int qmParticle, int mmParticle, double ratio, int atomicNumber) {
    linkAtoms.push_back({qmParticle, mmParticle, ratio, atomicNumber});
    return static_cast<int>(linkAtoms.size()) - 1;
}

std::vector<int> QMRegion::getSiteNumbers() const {
    std::vector<int> numbers = atomicNumbers;
    for (const LinkAtom &link : linkAtoms)
        numbers.push_back(link.atomicNumber);
    return numbers;
}

string QMRegion::describeSite(int site) const {
    const int numAtoms = static_cast<int>(particles.size());
    if (site < numAtoms)
        return "particle " + to_string(particles[site]);
    const LinkAtom &link = linkAtoms[site - numAtoms];
    return "link atom between particles " + to_string(link.qmParticle) + " and " + to_string(link.mmParticle);
}

void QMRegion::validate(const OpenMM::System &system, const string &owner) const {
    validateAtoms(system, owner);
    validateLinkAtoms(system, owner);
    validateBonds(owner);
}

void QMRegion::validateAtoms(const OpenMM::System &system, const string &owner) const {
    if (particles.empty())
        throw OpenMMException(owner + ": the QM region is empty; add at least one atom");
    std::set<int> seen;
    for (size_t i = 0; i < particles.size(); i++) {
        const string name = owner + ": QM particle " + to_string(particles[i]);
        if (particles[i] < 0 || particles[i] >= system.getNumParticles())
            throw OpenMMException(name + " does not exist; the System has " + to_string(system.getNumParticles()) +
                                  " particles");
        if (!seen.insert(particles[i]).second)
            throw OpenMMException(name + " was added twice");
        if (system.isVirtualSite(particles[i]))
            throw OpenMMException(name + " is a virtual site, which cannot be a QM atom");
        if (atomicNumbers[i] < 1 || atomicNumbers[i] > 118)
            throw OpenMMException(name + " has the atomic number " + to_string(atomicNumbers[i]) +
                                  ", which is no element");
    }
}

void QMRegion::validateLinkAtoms(const OpenMM::System &system, const string &owner) const {
    const std::set<int> inRegion(particles.begin(), particles.end());
    std::set<std::pair<int, int>> seen;
    for (const LinkAtom &link : linkAtoms) {
        const string name = owner + ": link atom between QM particle " + to_string(link.qmParticle) +
                            " and MM particle " + to_string(link.mmParticle);
        if (!inRegion.count(link.qmParticle))
            throw OpenMMException(name + ": the first is not in the QM region");
        if (link.mmParticle < 0 || link.mmParticle >= system.getNumParticles())
            throw OpenMMException(name + ": the second does not exist");
        if (inRegion.count(link.mmParticle))
            throw OpenMMException(name + ": the second belongs to the QM region too, so no bond is cut");
        if (!std::isfinite(link.ratio) || link.ratio <= 0 || link.ratio >= 1)
            throw OpenMMException(name + ": the ratio must be between 0 and 1, not " + to_string(link.ratio));
        if (link.atomicNumber < 1 || link.atomicNumber > 118)
            throw OpenMMException(name + ": " + to_string(link.atomicNumber) + " is no element");
        if (!seen.insert({link.qmParticle, link.mmParticle}).second)
            throw OpenMMException(name + " was added twice");
    }
}

void QMRegion::validateBonds(const string &owner) const {
    if (!bonds)
        return;
    const std::set<int> inRegion(particles.begin(), particles.end());
    for (const auto &[first, second] : *bonds)
        if (!inRegion.count(first) || !inRegion.count(second))
            throw OpenMMException(owner + ": the bond between particles " + to_string(first) + " and " +
                                  to_string(second) + " does not lie within the QM region");
}

std::vector<std::pair<int, int>> QMRegion::getBondedParticles() const {
    std::vector<std::pair<int, int>> pairs;
    if (bonds)
        pairs = *bonds;
    else
        for (size_t i = 1; i < particles.size(); i++)
            pairs.push_back({particles[i - 1], particles[i]});
    for (const LinkAtom &link : linkAtoms)
        pairs.push_back({link.qmParticle, link.mmParticle});
    return pairs;
}

void QMRegion::validateElectrons(const string &owner) const {
    const std::vector<int> numbers = getSiteNumbers();
    const int electrons = std::accumulate(numbers.begin(), numbers.end(), 0) - charge;
    const string name = owner + ": charge " + to_string(charge) + " and multiplicity " + to_string(multiplicity);
    if (electrons < 1)
        throw OpenMMException(name + " leave the QM region no electrons (" + to_string(electrons) + ")");
    if (multiplicity < 1)
        throw OpenMMException(name + " are impossible: the multiplicity is the number of unpaired electrons plus 1");
    const int unpaired = multiplicity - 1;
    if (unpaired > electrons)
        throw OpenMMException(name + " are impossible: " + to_string(unpaired) + " unpaired electrons of " +
                              to_string(electrons));
    if ((electrons - unpaired) % 2 != 0)
        throw OpenMMException(name + " are impossible: the QM region has " + to_string(electrons) +
                              " electrons, so the multiplicity must be " + (electrons % 2 == 0 ? "odd" : "even"));
}

} // namespace KStep
