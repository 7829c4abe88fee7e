#include "SystemDigest.h"
#include "openmm/serialization/XmlSerializer.h"
#include <exception>
#include <ostream>
#include <streambuf>

namespace KStep {

namespace {

/** Takes characters and keeps their digest only: the XML form of a protein in water has tens of megabytes. */
class Digest : public std::streambuf {
public:
    std::uint64_t value = 0xcbf29ce484222325;

protected:
    int_type overflow(int_type character) override {
        if (!traits_type::eq_int_type(character, traits_type::eof()))
            add(traits_type::to_char_type(character));
        return traits_type::not_eof(character);
    }
    std::streamsize xsputn(const char *characters, std::streamsize number) override {
        for (std::streamsize i = 0; i < number; i++)
            add(characters[i]);
        return number;
    }

private:
    void add(char character) { value = (value ^ static_cast<unsigned char>(character)) * 0x100000001b3; }
};

} // namespace

std::optional<std::uint64_t> digestSystem(const OpenMM::System &system) {
    Digest digest;
    std::ostream stream(&digest);
    try {
        OpenMM::XmlSerializer::serialize(&system, "System", stream);
    } catch (const std::exception &) {
        return std::nullopt;
    }
    return digest.value;
}

} // namespace KStep
