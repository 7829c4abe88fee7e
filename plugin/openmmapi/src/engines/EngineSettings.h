#ifndef OPENMMKSTEP_ENGINESETTINGS_H_
#define OPENMMKSTEP_ENGINESETTINGS_H_

#include <nlohmann/json.hpp>
#include <set>
#include <string>

namespace KStep {

/**
 * The settings of an engine: a JSON object of which every key must be asked for. Every error names engine and setting.
 */
class EngineSettings {
public:
    /** @throws OpenMMException if the text is not a JSON object */
    EngineSettings(const std::string &engine, const std::string &text);
    /** A number in [low, high]. */
    double getNumber(const std::string &key, double defaultValue, double low, double high);
    int getInteger(const std::string &key, int defaultValue, int low, int high);
    std::string getString(const std::string &key, const std::string &defaultValue);
    /** A list, empty if the key is absent. */
    nlohmann::json getList(const std::string &key);
    /** @throws OpenMMException naming a key that nobody asked for */
    void finish() const;
    [[noreturn]] void fail(const std::string &key, const std::string &what) const;

private:
    const nlohmann::json *find(const std::string &key);
    std::string engine;
    nlohmann::json settings;
    std::set<std::string> known;
};

} // namespace KStep

#endif
