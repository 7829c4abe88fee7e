#include "BuiltInEngines.h"
#include "openmm/OpenMMException.h"
#include "openmmkstep/QMEngine.h"
#include <algorithm>
#include <map>
#include <mutex>

using std::string;
using std::vector;

namespace KStep {

namespace {

const string testPrefix = "test-";

struct Registry {
    std::mutex mutex;
    std::map<string, QMEngineFactory> factories;
    std::function<vector<string>()> foreignNames;
    std::function<std::unique_ptr<QMEngine>(const string &, const string &)> foreignFactory;
    Registry() {
        for (const string method : {"gfn1-xtb", "gfn2-xtb"})
            factories[method] = [method](const string &settings) { return createXTBEngine(method, settings); };
        factories["gfn-ff"] = createGFNFFEngine;
        factories[testPrefix + "analytic"] = createAnalyticEngine;
    }
};

Registry &registry() {
    static Registry instance;
    return instance;
}

/** Asked without the lock: the answer may come from another language. */
vector<string> listForeignNames() {
    std::function<vector<string>()> question;
    {
        std::lock_guard<std::mutex> lock(registry().mutex);
        question = registry().foreignNames;
    }
    return question ? question() : vector<string>();
}

} // namespace

void QMEngineRegistry::registerEngine(const string &name, QMEngineFactory factory) {
    std::lock_guard<std::mutex> lock(registry().mutex);
    registry().factories[name] = std::move(factory);
}

void QMEngineRegistry::setForeignEngines(
    std::function<vector<string>()> names,
    std::function<std::unique_ptr<QMEngine>(const string &, const string &)> factory) {
    std::lock_guard<std::mutex> lock(registry().mutex);
    registry().foreignNames = std::move(names);
    registry().foreignFactory = std::move(factory);
}

vector<string> QMEngineRegistry::getNativeNames() {
    std::lock_guard<std::mutex> lock(registry().mutex);
    vector<string> names;
    for (const auto &[name, factory] : registry().factories)
        if (!name.starts_with(testPrefix))
            names.push_back(name);
    return names;
}

vector<string> QMEngineRegistry::getEngineNames() {
    vector<string> names = getNativeNames();
    for (const string &name : listForeignNames())
        if (std::find(names.begin(), names.end(), name) == names.end())
            names.push_back(name);
    std::sort(names.begin(), names.end());
    return names;
}

std::unique_ptr<QMEngine> QMEngineRegistry::createEngine(const string &name, const string &settings) {
    {
        std::unique_lock<std::mutex> lock(registry().mutex);
        const auto found = registry().factories.find(name);
        if (found != registry().factories.end()) {
            const QMEngineFactory factory = found->second;
            lock.unlock();
            return factory(settings);
        }
    }
    const vector<string> names = getEngineNames();
    if (std::find(names.begin(), names.end(), name) != names.end())
        return registry().foreignFactory(name, settings);
    string list;
    for (const string &known : names)
        list += (list.empty() ? "" : ", ") + known;
    throw OpenMM::OpenMMException("There is no QM engine '" + name + "'; there are " + list);
}

} // namespace KStep
