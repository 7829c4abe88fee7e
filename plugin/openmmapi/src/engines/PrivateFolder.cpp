#include "PrivateFolder.h"
#include "openmm/OpenMMException.h"
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sched.h>
#include <string>
#include <unistd.h>

using OpenMM::OpenMMException;
using std::string;

namespace KStep {

PrivateFolder::PrivateFolder() {
    // The other threads of the process keep theirs.
    if (unshare(CLONE_FS) != 0)
        throw OpenMMException(string("the system does not let a thread have a working folder of its own (unshare: ") +
                              std::strerror(errno) +
                              "); in a container, allow that call (seccomp), or use another "
                              "method");
    previous = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    std::error_code error;
    const std::filesystem::path parent = std::filesystem::temp_directory_path(error);
    string name = ((error ? std::filesystem::path("/tmp") : parent) / "kstep-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr || chdir(name.c_str()) != 0) {
        const string reason = std::strerror(errno);
        if (previous >= 0)
            close(previous);
        throw OpenMMException("no temporary folder can be made as '" + name + "': " + reason);
    }
    path = name;
}

PrivateFolder::~PrivateFolder() {
    if (previous >= 0) {
        // Gone, perhaps; the thread then stays in a folder that is about to go.
        const int status = fchdir(previous);
        static_cast<void>(status);
        close(previous);
    }
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
}

} // namespace KStep
