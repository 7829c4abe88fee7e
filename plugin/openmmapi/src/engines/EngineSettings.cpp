#include "EngineSettings.h"
#include "openmm/OpenMMException.h"
#include <sstream>

using nlohmann::json;
using OpenMM::OpenMMException;
using std::string;

namespace KStep {

EngineSettings::EngineSettings(const string &engine, const string &text) : engine(engine) {
    try {
        settings = text.empty() ? json::object() : json::parse(text);
    } catch (const json::exception &error) {
        throw OpenMMException("QM engine '" + engine + "': the settings are not valid JSON: " + error.what());
    }
    if (!settings.is_object())
        throw OpenMMException("QM engine '" + engine + "': the settings must be a JSON object, not " + text);
}

const json *EngineSettings::find(const string &key) {
    known.insert(key);
    const auto found = settings.find(key);
    return found == settings.end() ? nullptr : &*found;
}

void EngineSettings::fail(const string &key, const string &what) const {
    throw OpenMMException("QM engine '" + engine + "': setting '" + key + "' " + what);
}

double EngineSettings::getNumber(const string &key, double defaultValue, double low, double high) {
    const json *value = find(key);
    if (value == nullptr)
        return defaultValue;
    if (!value->is_number())
        fail(key, "must be a number, not " + value->dump());
    const double number = value->get<double>();
    if (!(number >= low && number <= high)) {
        std::ostringstream message;
        message << "must be between " << low << " and " << high << ", not " << number;
        fail(key, message.str());
    }
    return number;
}

int EngineSettings::getInteger(const string &key, int defaultValue, int low, int high) {
    const json *value = find(key);
    if (value == nullptr)
        return defaultValue;
    if (!value->is_number_integer())
        fail(key, "must be a whole number, not " + value->dump());
    const auto number = value->get<long long>();
    if (number < low || number > high)
        fail(key, "must be between " + std::to_string(low) + " and " + std::to_string(high) + ", not " + value->dump());
    return static_cast<int>(number);
}

string EngineSettings::getString(const string &key, const string &defaultValue) {
    const json *value = find(key);
    if (value == nullptr)
        return defaultValue;
    if (!value->is_string())
        fail(key, "must be a string, not " + value->dump());
    return value->get<string>();
}

json EngineSettings::getList(const string &key) {
    const json *value = find(key);
    if (value == nullptr)
        return json::array();
    if (!value->is_array())
        fail(key, "must be a list, not " + value->dump());
    return *value;
}

void EngineSettings::finish() const {
    for (const auto &[key, value] : settings.items())
        if (!known.count(key)) {
            string names;
            for (const string &name : known)
                names += (names.empty() ? "" : ", ") + name;
            fail(key, "is not known; there are " + names);
        }
}

} // namespace KStep
