#include "Checkpoint.h"
#include "Integration.h"
#include <sstream>

using OpenMM::OpenMMException;
using OpenMM::Vec3;

namespace KStep {

namespace {

constexpr int checkpointVersion = 6;

/** Everything of a step's end but the forces. */
template <class Archive, class End> void visit(Archive &archive, End &end) {
    archive(end.potentialEnergy);
    archive(end.qmEnergy);
    archive(end.surrogateEnergy);
    archive(end.correction);
    archive(end.rejection);
}

} // namespace

void KStepIntegrator::Integration::createCheckpoint(std::ostream &stream) {
    CheckpointWriter write(stream);
    write(checkpointVersion);
    kernel.createCheckpoint(stream);
    Statistics kept = statistics;
    kept.values = getStatistics();
    kept.visit(write);
    if (!kernel.velocitiesAreAtMark(context))
        acceptance.forget();
    acceptance.visit(write);
    std::ostringstream forces;
    // Another integrator of a CompoundIntegrator may have moved them without a word.
    positionsMayDiffer = true;
    if (forcesBelongToState())
        writeForces(forces);
    // With its length, so that who does not want it can read on behind it.
    write(forces.str());
    // The next QM calculation must not start from a density that the checkpoint does not hold, or a run that goes on
    // and one that is taken up differ in the last digits.
    const std::vector<std::string> memories = evaluator.getQMMemories();
    write(memories.size());
    for (const std::string &memory : memories)
        write(memory);
}

void KStepIntegrator::Integration::writeForces(std::ostream &stream) const {
    CheckpointWriter write(stream);
    write(identity);
    write(systemChanges);
    write(systemDigest);
    write(getStoredGroups());
    for (int slot = 0; slot < schedule.getNumSlots(); slot++)
        if (schedule.isNeededAtEnds(slot))
            write(kernel.getForces(evaluator.getBuffer(current, slot)));
    visit(write, end);
}

void KStepIntegrator::Integration::loadCheckpoint(std::istream &stream) {
    forcesAreStored = false;
    announcement = Announcement::None;
    CheckpointReader read(stream);
    int version = 0;
    read(version);
    if (version != checkpointVersion)
        throw OpenMMException("KStepIntegrator: the checkpoint was made with another integrator or plugin version");
    kernel.loadCheckpoint(stream);
    Statistics loaded = statistics;
    loaded.visit(read);
    Acceptance loadedAcceptance = acceptance;
    loadedAcceptance.visit(read);
    const int numSurrogates = schedule.getNumSurrogates();
    if (loaded.values.surrogateCalls.size() != static_cast<size_t>(numSurrogates) ||
        loaded.values.surrogateTime.size() != static_cast<size_t>(numSurrogates))
        throw OpenMMException("KStepIntegrator: the checkpoint was made with " +
                              std::to_string(loaded.values.surrogateCalls.size()) +
                              " surrogate levels, but there are " + std::to_string(numSurrogates));
    std::string forces;
    read(forces);
    size_t numMemories = 0;
    read(numMemories);
    std::vector<std::string> memories;
    // One by one: a damaged number ends with the stream.
    while (memories.size() < numMemories)
        read(memories.emplace_back());
    statistics = loaded;
    acceptance = loadedAcceptance;
    const auto others = evaluator.countOtherQMCalls();
    loadedOtherQMCalls = loaded.values.otherQMCalls.value_or(0) - others.value_or(0);
    evaluator.recallQMMemories(memories);
    if (!forces.empty()) {
        std::istringstream forcesStream(forces);
        readForces(forcesStream);
    }
    announcement = Announcement::Expected;
}

/** OpenMM has restored positions, box and parameters by now. */
void KStepIntegrator::Integration::readForces(std::istream &stream) {
    CheckpointReader read(stream);
    std::uint64_t origin = 0;
    long long changes = 0;
    std::optional<std::uint64_t> digest;
    std::vector<int> groups;
    read(origin);
    read(changes);
    read(digest);
    read(groups);
    // Forces for other parameters, as of a System that was changed before Context.reinitialize(), are computed anew.
    // What updateParametersInContext() changed in another Context is not known here.
    const bool isOwn = origin == identity && changes == systemChanges;
    const bool isOfSameSystem = changes == 0 && systemChanges == 0 && digest && digest == systemDigest;
    if (!(isOwn || isOfSameSystem) || groups != getStoredGroups())
        return;
    std::vector<Vec3> forces;
    for (int slot = 0; slot < schedule.getNumSlots(); slot++)
        if (schedule.isNeededAtEnds(slot)) {
            read.read(forces, static_cast<size_t>(context.getSystem().getNumParticles()));
            kernel.setForces(evaluator.getBuffer(current, slot), forces);
        }
    visit(read, end);
    kernel.mark(context);
    box = getBox();
    parameters = context.getOwner().getParameters();
    forcesAreStored = true;
    positionsMayDiffer = false;
}

/** The force groups of each slot whose forces are stored at the ends of steps. */
std::vector<int> KStepIntegrator::Integration::getStoredGroups() const {
    std::vector<int> groups;
    for (int slot = 0; slot < schedule.getNumSlots(); slot++)
        if (schedule.isNeededAtEnds(slot))
            groups.push_back(schedule.getSlots()[slot].groups);
    return groups;
}

} // namespace KStep
