#include "Checkpoint.h"
#include "Integration.h"

using OpenMM::OpenMMException;
using OpenMM::Vec3;

namespace KStep {

namespace {

constexpr int checkpointVersion = 2;

/** Everything of a step's end but the forces. */
template <class Archive, class End> void visit(Archive &archive, End &end) {
    archive(end.potentialEnergy);
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
    const bool isComplete = forcesBelongToState();
    write(isComplete);
    // The next QM calculation must not start from a density that the checkpoint does not hold, or a run that goes on
    // and one that is taken up differ in the last digits.
    evaluator.forgetQMHistory();
    if (!isComplete)
        return;
    write(systemChanges);
    for (int slot = 0; slot < schedule.getNumSlots(); slot++)
        if (schedule.isNeededAtEnds(slot))
            write(kernel.getForces(evaluator.getBuffer(current, slot)));
    visit(write, end);
}

void KStepIntegrator::Integration::loadCheckpoint(std::istream &stream) {
    forcesAreStored = false;
    CheckpointReader read(stream);
    int version = 0;
    read(version);
    if (version != checkpointVersion)
        throw OpenMMException("KStepIntegrator: the checkpoint was made with another integrator or plugin version");
    kernel.loadCheckpoint(stream);
    Statistics loaded = statistics;
    loaded.visit(read);
    const int numSurrogates = schedule.getNumSurrogates();
    if (loaded.values.surrogateCalls.size() != static_cast<size_t>(numSurrogates) ||
        loaded.values.surrogateTime.size() != static_cast<size_t>(numSurrogates))
        throw OpenMMException("KStepIntegrator: the checkpoint was made with " +
                              std::to_string(loaded.values.surrogateCalls.size()) +
                              " surrogate levels, but there are " + std::to_string(numSurrogates));
    bool isComplete = false;
    read(isComplete);
    statistics = loaded;
    const auto others = evaluator.countOtherQMCalls();
    loadedOtherQMCalls = loaded.values.otherQMCalls.value_or(0) - others.value_or(0);
    evaluator.forgetQMHistory();
    // OpenMM has restored positions, box and parameters by now, and announces that right after this.
    isLoading = true;
    if (!isComplete)
        return;
    long long changes = 0;
    read(changes);
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
    // Forces that were computed before, or after, their parameters were changed are not those of this Context.
    forcesAreStored = changes == systemChanges;
    positionsMayDiffer = false;
}

} // namespace KStep
