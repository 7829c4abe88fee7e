#include "engines/EngineSettings.h"
#include "openmm/OpenMMException.h"
#include <doctest/doctest.h>

using KStep::EngineSettings;
using OpenMM::OpenMMException;

namespace {

template <class Function> std::string messageOf(Function function) {
    try {
        function();
    } catch (const OpenMMException &error) {
        return error.what();
    }
    return "";
}

bool contains(const std::string &text, const std::string &part) {
    return text.find(part) != std::string::npos;
}

} // namespace

TEST_CASE("settings that are there, and defaults") {
    EngineSettings settings("e", R"({"accuracy": 0.5, "threads": 3, "path": "a \"b\" {c}", "list": [1, 2]})");
    CHECK(settings.getNumber("accuracy", 1, 0, 1) == 0.5);
    CHECK(settings.getInteger("threads", 1, 1, 8) == 3);
    CHECK(settings.getString("path", "") == "a \"b\" {c}");
    CHECK(settings.getList("list").size() == 2);
    CHECK(settings.getNumber("other", 7, 0, 10) == 7);
    settings.finish();
    EngineSettings("e", "").finish();
}

TEST_CASE("errors name engine and setting") {
    CHECK(contains(messageOf([] { EngineSettings("e", "[1]"); }), "'e'"));
    CHECK(contains(messageOf([] { EngineSettings("e", "{"); }), "not valid JSON"));
    EngineSettings settings("e", R"({"a": "text", "b": 2.5, "c": 99, "typo": 1})");
    CHECK(contains(messageOf([&] { settings.getNumber("a", 0, 0, 1); }), "'a' must be a number"));
    CHECK(contains(messageOf([&] { settings.getInteger("b", 0, 0, 9); }), "'b' must be a whole number"));
    CHECK(contains(messageOf([&] { settings.getInteger("c", 0, 0, 9); }), "between 0 and 9"));
    CHECK(contains(messageOf([&] { settings.getString("b", ""); }), "'b' must be a string"));
    CHECK(contains(messageOf([&] { settings.getList("a"); }), "'a' must be a list"));
    const std::string unknown = messageOf([&] { settings.finish(); });
    CHECK(contains(unknown, "'typo' is not known; there are a, b, c"));
}
