#include "Propagation.h"
#include "openmm/OpenMMException.h"
#include <istream>
#include <ostream>

using OpenMM::OpenMMException;
using OpenMM::Vec3;

namespace KStep {

namespace {

constexpr int checkpointVersion = 1;

/** Writes values to a stream byte by byte. A checkpoint belongs to one machine and one version of the plugin. */
class Writer {
public:
    explicit Writer(std::ostream &stream) : stream(stream) {}
    template <class T> void operator()(const T &value) {
        stream.write(reinterpret_cast<const char *>(&value), sizeof(T));
    }
    void operator()(const std::string &value) {
        (*this)(value.size());
        stream.write(value.data(), static_cast<std::streamsize>(value.size()));
    }
    template <class T> void operator()(const std::vector<T> &values) {
        (*this)(values.size());
        stream.write(reinterpret_cast<const char *>(values.data()),
                     static_cast<std::streamsize>(values.size() * sizeof(T)));
    }

private:
    std::ostream &stream;
};

class Reader {
public:
    explicit Reader(std::istream &stream) : stream(stream) {}
    template <class T> void operator()(T &value) { read(&value, sizeof(T)); }
    void operator()(std::string &value) {
        value.resize(readSize(1));
        read(value.data(), value.size());
    }
    template <class T> void operator()(std::vector<T> &values) {
        values.resize(readSize(sizeof(T)));
        read(values.data(), values.size() * sizeof(T));
    }

private:
    size_t readSize(size_t elementSize) {
        size_t size = 0;
        (*this)(size);
        if (size * elementSize > (size_t(1) << 32))
            throw OpenMMException("KStepIntegrator: the checkpoint is damaged");
        return size;
    }
    void read(void *target, size_t size) {
        stream.read(static_cast<char *>(target), static_cast<std::streamsize>(size));
        if (!stream)
            throw OpenMMException("KStepIntegrator: the checkpoint is too short or was made with another integrator");
    }
    std::istream &stream;
};

template <class Archive, class Statistics> void visit(Archive &archive, Statistics &s) {
    archive(s.outerSteps);
    archive(s.innerSteps);
    archive(s.qmCalls);
    archive(s.surrogateCalls);
    archive(s.commonCalls);
    archive(s.fallbacks);
    archive(s.consecutiveFallbacks);
    archive(s.lastFallbackReason);
    archive(s.correctionRMS);
    archive(s.meanCorrectionRMS);
    archive(s.maxCorrection);
    archive(s.energyError);
    archive(s.cumulativeEnergyError);
    archive(s.totalEnergy);
    archive(s.potentialEnergy);
    archive(s.heat);
    archive(s.qmTime);
    archive(s.commonTime);
    archive(s.integratorTime);
    archive(s.surrogateTime);
}

} // namespace

void KStepIntegrator::Propagation::createCheckpoint(std::ostream &stream) const {
    Writer write(stream);
    write(checkpointVersion);
    kernel.createCheckpoint(stream);
    visit(write, statistics);
    write(sumOfCorrectionRMS);
    write(integrator.getK());
    write(integrator.getInnerStepSize());
    write(boundaryIsValid);
    if (!boundaryIsValid)
        return;
    // The forces themselves are kept, since an SCF calculation repeated from another start differs in the last digits.
    write(kernel.getImpulse(ladderBuffer(current)));
    write(kernel.getImpulse(plainBuffer(current)));
    write(boundary.potentialEnergy);
    write(boundary.correctionRMS);
    write(boundary.maxCorrection);
    write(boundary.obstacle);
    write(boundaryPositions);
    write(boundaryBox);
    write(boundaryParameters.size());
    for (const auto &[name, value] : boundaryParameters) {
        write(name);
        write(value);
    }
}

void KStepIntegrator::Propagation::loadCheckpoint(std::istream &stream) {
    Reader read(stream);
    int version = 0;
    read(version);
    if (version != checkpointVersion)
        throw OpenMMException("KStepIntegrator: the checkpoint was made with another integrator or plugin version");
    kernel.loadCheckpoint(stream);
    KStepStatistics loaded;
    visit(read, loaded);
    if (loaded.surrogateCalls.size() != ladder.getSurrogates().size())
        throw OpenMMException("KStepIntegrator: the checkpoint was made with " +
                              std::to_string(loaded.surrogateCalls.size()) + " surrogate levels, but there are " +
                              std::to_string(ladder.getSurrogates().size()));
    statistics = loaded;
    read(sumOfCorrectionRMS);
    int k = 0;
    double innerStepSize = 0;
    read(k);
    read(innerStepSize);
    bool wasValid = false;
    read(wasValid);
    boundaryIsValid = false;
    if (!wasValid)
        return;
    std::vector<Vec3> ladderImpulse, plainImpulse;
    read(ladderImpulse);
    read(plainImpulse);
    read(boundary.potentialEnergy);
    read(boundary.correctionRMS);
    read(boundary.maxCorrection);
    read(boundary.obstacle);
    read(boundaryPositions);
    read(boundaryBox);
    size_t numParameters = 0;
    read(numParameters);
    boundaryParameters.clear();
    for (size_t i = 0; i < numParameters; i++) {
        std::string name;
        double value = 0;
        read(name);
        read(value);
        boundaryParameters[name] = value;
    }
    const auto numParticles = static_cast<size_t>(context.getSystem().getNumParticles());
    if (ladderImpulse.size() != numParticles || plainImpulse.size() != numParticles)
        throw OpenMMException("KStepIntegrator: the checkpoint was made with another number of particles");
    kernel.setImpulse(ladderBuffer(current), ladderImpulse);
    kernel.setImpulse(plainBuffer(current), plainImpulse);
    // Impulses contain the step, so they hold only for the step that they were made with.
    boundaryIsValid = k == integrator.getK() && innerStepSize == integrator.getInnerStepSize();
    mustCompare = true;
}

} // namespace KStep
