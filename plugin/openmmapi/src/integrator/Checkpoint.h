#ifndef OPENMMKSTEP_CHECKPOINT_H_
#define OPENMMKSTEP_CHECKPOINT_H_

#include "openmm/OpenMMException.h"
#include <algorithm>
#include <istream>
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
    void operator()(std::string &value) { readArray(value); }
    template <class T> void operator()(std::vector<T> &values) { readArray(values); }
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
    /** Piece by piece: a damaged length must not ask for more memory than the stream can fill. */
    template <class Array> void readArray(Array &values) {
        constexpr size_t elementSize = sizeof(typename Array::value_type), piece = 1 << 20; // elements
        size_t size = 0;
        (*this)(size);
        values.clear();
        while (values.size() < size) {
            const size_t done = values.size(), number = std::min(piece, size - done);
            values.resize(done + number);
            read(values.data() + done, number * elementSize);
        }
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
