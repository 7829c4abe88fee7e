#include "GaussianNoise.h"
#include <istream>
#include <ostream>

namespace KStep {

void GaussianNoise::seed(unsigned long long value) {
    generator.seed(value);
    hasSpare = false;
}

void GaussianNoise::write(std::ostream &stream) const {
    stream << generator << ' ' << hasSpare << ' ';
    stream.write(reinterpret_cast<const char *>(&spare), sizeof(double));
}

void GaussianNoise::read(std::istream &stream) {
    stream >> generator >> hasSpare;
    stream.get();
    stream.read(reinterpret_cast<char *>(&spare), sizeof(double));
}

} // namespace KStep
