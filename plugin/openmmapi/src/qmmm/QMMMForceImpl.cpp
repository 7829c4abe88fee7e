#include "openmmkstep/internal/QMMMForceImpl.h"
#include "far_field/QMFarField.h"
#include "openmm/OpenMMException.h"
#include "openmm/internal/ContextImpl.h"
#include "openmmkstep/internal/Interruption.h"
#include "openmmkstep/internal/PeriodicBox.h"
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <sstream>

using OpenMM::OpenMMException;
using OpenMM::Vec3;
using std::string;
using std::vector;

namespace KStep {

namespace {

/** nm; no bond and no collision at any temperature of interest brings nuclei this close. */
constexpr double MIN_SITE_DISTANCE = 0.03, MIN_CHARGE_DISTANCE = 0.01;

/** kJ/mol; far above the noise of a converged calculation. */
constexpr double MAX_JUMP = 0.01;

/** nm; a minimiser's first guess may be a step of 1 nm, and a calculation that does not converge is the longest. */
constexpr double MAX_TRIAL_MOVE = 0.05;

/** All particles on whose positions the energy depends. */
vector<int> particlesOf(const QMMMForce &force) {
    vector<int> involved = involvedParticles(force.getRegion(), force.getEmbeddingCharges());
    if (!force.hasFarField())
        return involved;
    std::set<int> all(involved.begin(), involved.end());
    const vector<int> far = involvedParticles(force.getRegion(), force.getFarFieldSurroundings());
    all.insert(far.begin(), far.end());
    for (const RegionCharge &each : force.getFarFieldRegion())
        all.insert(each.particle);
    return vector<int>(all.begin(), all.end());
}

} // namespace

QMMMForceImpl::QMMMForceImpl(const QMMMForce &owner) : CustomCPPForceImpl(owner), owner(owner) {}

QMMMForceImpl::~QMMMForceImpl() = default;

void QMMMForceImpl::initialize(OpenMM::ContextImpl &context) {
    const OpenMM::System &system = context.getSystem();
    const QMRegion &region = owner.getRegion();
    const string &name = owner.getName();
    region.validate(system, name);
    region.validateElectrons(name);
    const bool periodic = owner.usesPeriodicBoundaryConditions();
    sites = std::make_unique<RegionSites>(region, system, periodic, name);
    field = std::make_unique<EmbeddingField>(owner.getEmbeddingCharges(), region.getParticles(), system, name);
    if (owner.hasFarField())
        farField = std::make_unique<QMFarField>(owner, system);
    geometry = std::make_unique<LastGeometry>(particlesOf(owner), periodic);
    lastForces.assign(system.getNumParticles(), Vec3());
    try {
        engine = QMEngineRegistry::createEngine(owner.getEngine(), owner.getEngineSettings());
        engine->initialize({region.getSiteNumbers(), region.getCharge(), region.getMultiplicity()});
    } catch (const std::exception &error) {
        throw OpenMMException(name + ": " + error.what());
    }
    CustomCPPForceImpl::initialize(context);
}

double QMMMForceImpl::computeForce(OpenMM::ContextImpl &context, const vector<Vec3> &positions, vector<Vec3> &forces) {
    Vec3 box[3];
    context.getPeriodicBoxVectors(box[0], box[1], box[2]);
    if (!geometry->matches(positions, box)) {
        // Integrators ask once per outer step; a minimiser is OpenMM's.
        if (triesGeometries && Interruption::isRequested())
            throw InterruptedException();
        geometry->forget();
        resultIsCollected = false;
        try {
            sites->place(positions, box);
            placeCharges(sites->getPositions(), positions, box);
        } catch (const std::exception &error) {
            // A minimiser that could not step back from a failed calculation arrives here.
            throw OpenMMException(lastFailure.empty() ? error.what() : error.what() + (". Before: " + lastFailure));
        }
        try {
            const double before = sites->haveImagesChanged() ? computeAtFormerImages(positions, box) : 0;
            compute(sites->getPositions());
            if (sites->haveImagesChanged())
                checkJump(getEnergy() - before);
            collectForces();
            sites->accept();
        } catch (const InterruptedException &) {
            throw;
        } catch (const std::exception &error) {
            lastFailure = error.what();
            if (!triesGeometries)
                throw;
            forces.assign(lastForces.size(), Vec3());
            const double nan = std::numeric_limits<double>::quiet_NaN();
            for (const int particle : owner.getRegion().getParticles())
                forces[particle] = Vec3(nan, nan, nan);
            return std::numeric_limits<double>::infinity();
        }
        lastFailure.clear();
        geometry->remember(positions, box);
    }
    if (triesGeometries) {
        lastTried = sites->getPositions();
        if (firstTried.empty())
            firstTried = lastTried;
    }
    forces = lastForces;
    return getEnergy();
}

void QMMMForceImpl::placeCharges(const vector<Vec3> &places, const vector<Vec3> &positions, const Vec3 box[3]) {
    field->update(places, positions, box);
    if (farField)
        farField->update(places, positions, box);
}

double QMMMForceImpl::getEnergy() const {
    return output.energy + (farField ? farField->getEnergy() : 0);
}

void QMMMForceImpl::compute(const vector<Vec3> &places) {
    fillInput(places);
    checkDistances();
    if (triesGeometries)
        checkTrialMove();
    callEngine();
}

void QMMMForceImpl::setTriesGeometries(bool doesTry) {
    triesGeometries = doesTry;
    firstTried.clear();
}

void QMMMForceImpl::checkTrialMove() const {
    const auto isNear = [this](const vector<Vec3> &places) {
        for (size_t i = 0; i < places.size(); i++) {
            const Vec3 move = input.positions[i] - places[i];
            if (move.dot(move) > MAX_TRIAL_MOVE * MAX_TRIAL_MOVE)
                return false;
        }
        return true;
    };
    // A minimiser returns to its start when it begins again with stiffer constraints.
    if (!firstTried.empty() && !isNear(firstTried) && !isNear(lastTried))
        throw OpenMMException(owner.getName() + ": a trial step moves a QM atom by more than " +
                              std::to_string(MAX_TRIAL_MOVE) + " nm");
}

/** The energy with the images of the geometry before; charges are then chosen for the present ones again. */
double QMMMForceImpl::computeAtFormerImages(const vector<Vec3> &positions, const Vec3 box[3]) {
    placeCharges(sites->getFormerPositions(), positions, box);
    compute(sites->getFormerPositions());
    const double energy = getEnergy();
    placeCharges(sites->getPositions(), positions, box);
    return energy;
}

void QMMMForceImpl::checkJump(double jump) const {
    if (std::abs(jump) <= MAX_JUMP)
        return;
    std::ostringstream message;
    message << owner.getName() << ": the QM region reaches around the periodic box: parts of it are as near to the "
            << "images of others as to the others themselves, and its energy jumps by " << jump
            << " kJ/mol where they change places. Use a larger box or a smaller region";
    throw OpenMMException(message.str());
}

void QMMMForceImpl::fillInput(const vector<Vec3> &places) {
    input.positions = places;
    input.chargePositions = field->getPositions();
    input.charges = field->getCharges();
    const int numSelected = field->getNumSelected();
    input.needsPotential.resize(numSelected);
    for (int i = 0; i < numSelected; i++)
        input.needsPotential[i] = field->getSwitchFactors()[i] < 1;
    if (!farField)
        return;
    const SurfaceCharges &surface = farField->getSurfaceCharges();
    const auto append = [](auto &list, const auto &more) { list.insert(list.end(), more.begin(), more.end()); };
    append(input.chargePositions, surface.getPositions());
    append(input.charges, surface.getCharges());
    input.needsPotential.resize(input.charges.size(), 1);
}

void QMMMForceImpl::checkDistances() const {
    const auto fail = [&](size_t site, const string &other, double distance) {
        std::ostringstream message;
        message << owner.getName() << ": QM atom " << site << " (" << owner.getRegion().describeSite(site) << ") and "
                << other << " are " << distance << " nm apart. Minimise the structure, or shorten the step";
        throw OpenMMException(message.str());
    };
    const auto closer = [](const Vec3 &delta, double limit) { return !(delta.dot(delta) >= limit * limit); };
    for (size_t i = 0; i < input.positions.size(); i++) {
        for (size_t j = 0; j < i; j++) {
            const Vec3 delta = input.positions[i] - input.positions[j];
            if (closer(delta, MIN_SITE_DISTANCE))
                fail(j, "QM atom " + std::to_string(i) + " (" + owner.getRegion().describeSite(i) + ")", norm(delta));
        }
        for (int j = 0; j < field->getNumSelected(); j++) {
            const Vec3 delta = input.positions[i] - input.chargePositions[j];
            if (closer(delta, MIN_CHARGE_DISTANCE))
                fail(i, "the embedding charge on particle " + std::to_string(field->getParticles()[j]), norm(delta));
        }
    }
}

void QMMMForceImpl::callEngine() {
    const auto start = std::chrono::steady_clock::now();
    numCalls++;
    try {
        engine->compute(input, output);
    } catch (const InterruptedException &) {
        throw;
    } catch (const std::exception &error) {
        throw OpenMMException(owner.getName() + ": " + error.what());
    }
    time += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    // A gradient that is not finite stays in the sum.
    const double sum = std::accumulate(output.gradient.begin(), output.gradient.end(), output.energy,
                                       [](double total, const Vec3 &g) { return total + g[0] + g[1] + g[2]; });
    if (!std::isfinite(sum))
        throw OpenMMException(owner.getName() + ": the QM engine returned an energy or forces that are not finite");
}

void QMMMForceImpl::collectForces() {
    siteForces.clear();
    for (const Vec3 &gradient : output.gradient)
        siteForces.push_back(-gradient);
    std::fill(lastForces.begin(), lastForces.end(), Vec3());
    vector<Vec3> onSites = siteForces;
    const auto numSeen = static_cast<std::ptrdiff_t>(field->getNumSelected());
    const vector<Vec3> onSeen(output.chargeGradient.begin(), output.chargeGradient.begin() + numSeen);
    field->addForces(onSeen, output.potentialAtCharges, lastForces);
    if (farField)
        farField->addForces({output.potentialAtCharges.begin() + numSeen, output.potentialAtCharges.end()},
                            {output.chargeGradient.begin() + numSeen, output.chargeGradient.end()}, onSites,
                            lastForces);
    sites->addForces(onSites, lastForces);
}

vector<std::pair<int, int>> QMMMForceImpl::getBondedParticles() const {
    return owner.getRegion().getBondedParticles();
}

const QMMMResult &QMMMForceImpl::getLastResult() {
    if (!geometry->isRemembered())
        throw OpenMMException(owner.getName() + (lastFailure.empty()
                                                     ? ": no QM calculation has been made in this "
                                                       "Context yet; ask for energy or forces first"
                                                     : ": the last QM calculation failed: " + lastFailure));
    if (!resultIsCollected)
        collectResult();
    return result;
}

QMMMQuestion QMMMForceImpl::getLastQuestion() const {
    if (input.positions.empty())
        throw OpenMMException(owner.getName() + ": no QM calculation has been tried in this Context yet");
    return {owner.getRegion().getSiteNumbers(), input.positions, input.charges, input.chargePositions, lastFailure};
}

/** Done when it is asked for: the potential of thousands of charges costs as much as a small calculation. */
void QMMMForceImpl::collectResult() {
    result.energy = output.energy;
    result.siteNumbers = owner.getRegion().getSiteNumbers();
    result.sitePositions = input.positions;
    result.siteForces = siteForces;
    result.siteCharges = output.atomicCharges;
    result.dipole = output.dipole;
    result.environmentParticles = field->getParticles();
    result.environmentParticles.resize(input.charges.size(), -1);
    result.environmentCharges = input.charges;
    result.environmentPositions = input.chargePositions;
    result.environmentForces.clear();
    for (const Vec3 &gradient : output.chargeGradient)
        result.environmentForces.push_back(-gradient);
    field->computePotential(input.positions, result.potential, result.potentialGradient);
    if (farField)
        farField->getSurfaceCharges().addPotential(input.positions, result.potential, result.potentialGradient);
    result.iterations = output.iterations;
    result.attempts = output.attempts;
    resultIsCollected = true;
}

void QMMMForceImpl::forget() {
    engine->reset();
    geometry->forget();
}

std::string QMMMForceImpl::getMemory() {
    geometry->forget();
    return engine->getMemory();
}

void QMMMForceImpl::recall(const std::string &memory) {
    geometry->forget();
    engine->recall(memory);
}

} // namespace KStep
