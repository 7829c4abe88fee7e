#ifndef OPENMMKSTEP_CHECKPOINT_H_
#define OPENMMKSTEP_CHECKPOINT_H_

#include "openmm/OpenMMException.h"
#include <istream>
#include <limits>
#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

namespace KStep {

/** Writes values to a checkpoint byte by byte. It belongs to one machine and one version of the plugin. */
class CheckpointWriter {
public:
    explicit CheckpointWriter(std::ostream &stream) : stream(stream) {}
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
    template <class T> void operator()(const std::optional<T> &value) {
        (*this)(value.has_value());
        if (value)
            (*this)(*value);
    }

private:
    std::ostream &stream;
};

/**
 * Reads what a CheckpointWriter wrote.
 *
 * @throws OpenMMException where the stream cannot be such a checkpoint
 */
class CheckpointReader {
public:
    explicit CheckpointReader(std::istream &stream) : stream(stream) {}
    template <class T> void operator()(T &value) { read(&value, sizeof(T)); }
    void operator()(std::string &value) {
        value.resize(readSize(1));
        read(value.data(), value.size());
    }
    template <class T> void operator()(std::vector<T> &values) {
        values.resize(readSize(sizeof(T)));
        read(values.data(), values.size() * sizeof(T));
    }
    template <class T> void operator()(std::optional<T> &value) {
        unsigned char isThere = 0;
        read(&isThere, 1);
        value.reset();
        if (isThere > 1)
            refuse();
        if (isThere == 1) {
            T content{};
            (*this)(content);
            value = content;
        }
    }
    /** Of an array whose length is known. */
    template <class T> void read(std::vector<T> &values, size_t expected) {
        (*this)(values);
        if (values.size() != expected)
            refuse();
    }
    [[noreturn]] static void refuse() {
        throw OpenMM::OpenMMException("KStepIntegrator: the checkpoint is damaged, or was made with another system, "
                                      "integrator or version");
    }

private:
    size_t readSize(size_t elementSize) {
        constexpr size_t limit = size_t(1) << 34; // bytes; more than any System needs
        size_t size = 0;
        (*this)(size);
        if (size > limit / elementSize)
            refuse();
        return size;
    }
    void read(void *target, size_t size) {
        stream.read(static_cast<char *>(target), static_cast<std::streamsize>(size));
        if (!stream)
            refuse();
    }
    std::istream &stream;
};

} // namespace KStep

#endif
