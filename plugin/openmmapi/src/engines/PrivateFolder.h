#ifndef OPENMMKSTEP_PRIVATEFOLDER_H_
#define OPENMMKSTEP_PRIVATEFOLDER_H_

#include <filesystem>

namespace KStep {

/**
 * A new and empty folder in which the calling thread works, and no other one, for libraries that leave files where the
 * program is. From the first time on the thread has a working folder of its own. The folder and what is in it go with
 * the object, and the thread is back where it was.
 */
class PrivateFolder {
public:
    /** @throws OpenMMException if the system does not let threads have folders of their own, or there is no space */
    PrivateFolder();
    ~PrivateFolder();
    PrivateFolder(const PrivateFolder &) = delete;
    PrivateFolder &operator=(const PrivateFolder &) = delete;

private:
    std::filesystem::path path;
    int previous = -1; // the folder that the thread comes from; -1 if it cannot be opened
};

} // namespace KStep

#endif
