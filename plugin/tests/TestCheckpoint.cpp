#include "integrator/Checkpoint.h"
#include <doctest/doctest.h>
#include <sstream>

using namespace KStep;
using OpenMM::OpenMMException;

namespace {

std::string write() {
    std::ostringstream stream;
    CheckpointWriter writer(stream);
    writer(42);
    writer(std::string("a reason"));
    writer(std::vector<double>{1.5, -2.5, 1e-300});
    writer(std::optional<double>(0.25));
    writer(std::optional<std::string>());
    return stream.str();
}

void read(std::istream &stream) {
    CheckpointReader reader(stream);
    int number = 0;
    std::string text;
    std::vector<double> values;
    std::optional<double> some;
    std::optional<std::string> none = "something";
    reader(number);
    reader(text);
    reader(values);
    reader(some);
    reader(none);
    CHECK(number == 42);
    CHECK(text == "a reason");
    CHECK(values == std::vector<double>{1.5, -2.5, 1e-300});
    CHECK(some == 0.25);
    CHECK(!none.has_value());
}

} // namespace

TEST_CASE("what a checkpoint holds comes back") {
    std::istringstream stream(write());
    read(stream);
}

TEST_CASE("a checkpoint cut off anywhere is refused with OpenMM's error") {
    const std::string whole = write();
    for (size_t length = 0; length < whole.size(); length++) {
        std::istringstream stream(whole.substr(0, length));
        CheckpointReader reader(stream);
        int number = 0;
        std::string text;
        std::vector<double> values;
        std::optional<double> some;
        std::optional<std::string> none;
        CHECK_THROWS_AS((reader(number), reader(text), reader(values), reader(some), reader(none)), OpenMMException);
    }
}

TEST_CASE("a length that no System has, or that overflows, is refused before memory is asked for") {
    for (const size_t size : {size_t(1) << 40, ~size_t(0), ~size_t(0) / sizeof(double) + 2}) {
        std::ostringstream written;
        CheckpointWriter writer(written);
        writer(size);
        std::istringstream stream(written.str());
        CheckpointReader reader(stream);
        std::vector<double> values;
        CHECK_THROWS_AS(reader(values), OpenMMException);
    }
}

TEST_CASE("a damaged mark of what may be absent, and an array of another length, are refused") {
    std::istringstream mark("\x02");
    std::optional<int> value;
    CHECK_THROWS_AS(CheckpointReader{mark}(value), OpenMMException);

    std::ostringstream written;
    CheckpointWriter writer(written);
    writer(std::vector<int>{1, 2, 3});
    std::istringstream stream(written.str());
    std::vector<int> values;
    CHECK_THROWS_AS(CheckpointReader{stream}.read(values, 4), OpenMMException);
}
