#ifndef OPENMMKSTEP_QMMMFORCEIMPL_H_
#define OPENMMKSTEP_QMMMFORCEIMPL_H_

#include "openmm/internal/CustomCPPForceImpl.h"
#include "openmmkstep/QMEngine.h"
#include "openmmkstep/QMMMForce.h"
#include "openmmkstep/internal/EmbeddingField.h"
#include <memory>
#include <vector>

namespace KStep {

class QMMMForceImpl : public OpenMM::CustomCPPForceImpl {
public:
    explicit QMMMForceImpl(const QMMMForce &owner) : CustomCPPForceImpl(owner), owner(owner) {}
    void initialize(OpenMM::ContextImpl &context) override;
    const QMMMForce &getOwner() const override { return owner; }
    double computeForce(OpenMM::ContextImpl &context, const std::vector<OpenMM::Vec3> &positions,
                        std::vector<OpenMM::Vec3> &forces) override;
    std::vector<std::pair<int, int>> getBondedParticles() const override;
    const QMMMResult &getLastResult() const;
    long long getNumCalls() const { return numCalls; }
    double getTime() const { return time; }
    void reset();

private:
    bool repeatsLastGeometry(const std::vector<OpenMM::Vec3> &positions, const OpenMM::Vec3 box[3]);
    void placeSites(const std::vector<OpenMM::Vec3> &positions, const OpenMM::Vec3 box[3]);
    void checkDistances() const;
    void callEngine();
    void storeResult();
    void collectForces();

    const QMMMForce &owner;
    std::unique_ptr<QMEngine> engine;
    std::unique_ptr<EmbeddingField> field;
    std::vector<int> regionIndex;       // position in the region of each particle, -1 outside
    std::vector<int> involvedParticles; // on whose positions the energy depends
    std::vector<OpenMM::Vec3> lastGeometry;
    bool hasResult = false;
    QMInput input;
    QMOutput output;
    QMMMResult result;
    std::vector<OpenMM::Vec3> lastForces; // of all particles
    long long numCalls = 0;
    double time = 0;
};

} // namespace KStep

#endif
