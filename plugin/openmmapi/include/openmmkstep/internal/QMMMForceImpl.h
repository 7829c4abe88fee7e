#ifndef OPENMMKSTEP_QMMMFORCEIMPL_H_
#define OPENMMKSTEP_QMMMFORCEIMPL_H_

#include "openmm/internal/CustomCPPForceImpl.h"
#include "openmmkstep/QMEngine.h"
#include "openmmkstep/QMMMForce.h"
#include "openmmkstep/internal/EmbeddingField.h"
#include "openmmkstep/internal/QMLevelForce.h"
#include "openmmkstep/internal/RegionSites.h"
#include <memory>
#include <string>
#include <vector>

namespace KStep {

class QMFarField;

class QMMMForceImpl : public OpenMM::CustomCPPForceImpl, public QMLevelForce {
public:
    explicit QMMMForceImpl(const QMMMForce &owner);
    QMMMForceImpl(const QMMMForceImpl &) = delete;
    QMMMForceImpl &operator=(const QMMMForceImpl &) = delete;
    ~QMMMForceImpl() override;
    void initialize(OpenMM::ContextImpl &context) override;
    const QMMMForce &getOwner() const override { return owner; }
    double computeForce(OpenMM::ContextImpl &context, const std::vector<OpenMM::Vec3> &positions,
                        std::vector<OpenMM::Vec3> &forces) override;
    std::vector<std::pair<int, int>> getBondedParticles() const override;
    const QMMMResult &getLastResult();
    QMMMQuestion getLastQuestion() const;
    double getTime() const { return time; }
    long long getNumCalls() const override { return numCalls; }
    void setTriesGeometries(bool doesTry) override;
    const std::string &getLastFailure() const override { return lastFailure; }
    void forget() override;
    std::string getMemory() override;
    void recall(const std::string &memory) override;

private:
    void placeCharges(const std::vector<OpenMM::Vec3> &places, const std::vector<OpenMM::Vec3> &positions,
                      const OpenMM::Vec3 box[3]);
    void compute(const std::vector<OpenMM::Vec3> &places);
    double getEnergy() const;
    double computeAtFormerImages(const std::vector<OpenMM::Vec3> &positions, const OpenMM::Vec3 box[3]);
    void checkJump(double jump) const;
    void fillInput(const std::vector<OpenMM::Vec3> &places);
    void checkDistances() const;
    void checkTrialMove() const;
    void callEngine();
    void collectForces();
    void collectResult();

    const QMMMForce &owner;
    std::unique_ptr<QMEngine> engine;
    std::unique_ptr<RegionSites> sites;
    std::unique_ptr<EmbeddingField> field;
    std::unique_ptr<QMFarField> farField; // none without a far field
    std::unique_ptr<LastGeometry> geometry;
    QMInput input;
    QMOutput output;
    QMMMResult result;
    bool resultIsCollected = false;
    std::vector<OpenMM::Vec3> siteForces, lastForces; // of the sites; of all particles
    /** Why the last calculation failed; empty if it did not. */
    std::string lastFailure;
    bool triesGeometries = false;
    /** Sites at the first and the last success since geometries are tried. */
    std::vector<OpenMM::Vec3> firstTried, lastTried;
    long long numCalls = 0;
    double time = 0;
};

} // namespace KStep

#endif
