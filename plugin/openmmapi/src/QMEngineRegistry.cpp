#include "engines/BuiltInEngines.h"
#include "openmm/OpenMMException.h"
#include "openmmkstep/QMEngine.h"
#include <map>
#include <mutex>

using std::string;

namespace KStep {

namespace {

struct Registry {
    std::mutex mutex;
    std::map<string, QMEngineFactory> factories;
    Registry() {
        for (const string method : {"gfn1-xtb", "gfn2-xtb"})
            factories[method] = [method](const string &settings) { return createXTBEngine(method, settings); };
        factories["analytic"] = createAnalyticEngine;
    }
};

Registry &registry() {
    static Registry instance;
    return instance;
}

} // namespace

void QMEngineRegistry::registerEngine(const string &name, QMEngineFactory factory) {
    std::lock_guard<std::mutex> lock(registry().mutex);
    registry().factories[name] = std::move(factory);
}

std::vector<string> QMEngineRegistry::getEngineNames() {
    std::lock_guard<std::mutex> lock(registry().mutex);
    std::vector<string> names;
    for (const auto &[name, factory] : registry().factories)
        names.push_back(name);
    return names;
}

std::unique_ptr<QMEngine> QMEngineRegistry::createEngine(const string &name, const string &settings) {
    QMEngineFactory factory;
    {
        std::lock_guard<std::mutex> lock(registry().mutex);
        const auto found = registry().factories.find(name);
        if (found != registry().factories.end())
            factory = found->second;
    }
    if (!factory) {
        string names;
        for (const string &known : getEngineNames())
            names += (names.empty() ? "" : ", ") + known;
        throw OpenMM::OpenMMException("There is no QM engine '" + name + "'; there are " + names);
    }
    return factory(settings);
}

} // namespace KStep
