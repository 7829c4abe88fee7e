#include "XTBLibrary.h"
#include "LargeStackThread.h"
#include "openmm/OpenMMException.h"
#include "openmm/Platform.h"
#include "openmmkstep/internal/XTBLocation.h"
#include <array>
#include <dlfcn.h>
#include <filesystem>
#include <memory>
#include <mutex>
#include <vector>

namespace fs = std::filesystem;
using OpenMM::OpenMMException;
using std::string;

namespace KStep {

namespace {

// The libraries of the wheel cannot find each other by themselves; loaded in this order each finds its predecessors.
constexpr std::array LOAD_ORDER = {"libquadmath", "libgfortran", "libgomp", "libopenblas", "libmctc", "libxtb"};

const char *const REMEDY = "Install it with `pip install xtb==22.1`, or name the folder that holds libxtb with "
                           "openmmkstep.engines.xtb.use_library().";

fs::path folderOf(const void *symbol) {
    Dl_info info;
    if (dladdr(symbol, &info) == 0 || info.dli_fname == nullptr)
        return {};
    std::error_code error;
    const fs::path file = fs::canonical(info.dli_fname, error);
    return error ? fs::path() : file.parent_path();
}

/** Packages of one site-packages folder: ours is openmmkstep/lib, OpenMM's is OpenMM.libs/lib. */
std::vector<fs::path> candidateFolders() {
    std::vector<fs::path> folders;
    const void *const symbols[] = {reinterpret_cast<const void *>(&XTBLibrary::load),
                                   reinterpret_cast<const void *>(&OpenMM::Platform::getOpenMMVersion)};
    for (const void *symbol : symbols) {
        const fs::path folder = folderOf(symbol);
        if (!folder.empty())
            folders.push_back(folder.parent_path().parent_path() / "xtb.libs");
    }
    return folders;
}

fs::path findLibrary(const fs::path &folder, const string &stem) {
    std::error_code error;
    for (const auto &entry : fs::directory_iterator(folder, error)) {
        const string name = entry.path().filename().string();
        if (name.rfind(stem, 0) == 0 && name.find(".so") != string::npos)
            return entry.path();
    }
    return {};
}

fs::path findFolder() {
    string searched;
    for (const fs::path &folder : candidateFolders()) {
        if (!findLibrary(folder, "libxtb").empty())
            return folder;
        searched += (searched.empty() ? "" : ", ") + folder.string();
    }
    throw OpenMMException("libxtb was not found (searched " + searched + "). " + REMEDY);
}

void *openLibrary(const fs::path &file) {
    void *library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr)
        throw OpenMMException("libxtb could not be loaded: " + string(dlerror()) + ". " + REMEDY);
    return library;
}

/** What the process has of libxtb: one of each, since it keeps state of its own. */
struct ProcessState {
    std::mutex mutex;
    string path; // empty for the library of the Python package
    std::unique_ptr<XTBLibrary> library;
    LargeStackThread thread;
};

ProcessState &state() {
    // Never destroyed: engines may outlive everything else at the end of the process.
    static auto *const instance = new ProcessState;
    return *instance;
}

template <class Function> void resolve(void *library, const char *name, Function &function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (function == nullptr)
        throw OpenMMException(string("libxtb has no function ") + name + "; it is too old. " + REMEDY);
}

} // namespace

void useXTBLibrary(const string &path) {
    XTBLibrary::useFile(path);
}

const XTBLibrary &XTBLibrary::load() {
    std::lock_guard<std::mutex> lock(state().mutex);
    auto &library = state().library;
    if (!library)
        library.reset(new XTBLibrary(state().path));
    return *library;
}

void XTBLibrary::useFile(const string &path) {
    std::lock_guard<std::mutex> lock(state().mutex);
    if (state().library && path != state().path)
        throw OpenMMException("libxtb is in use already; name another one before the first Context with an xTB force");
    state().path = path;
}

void XTBLibrary::run(int threads, const std::function<void()> &function) const {
    state().thread.run([&] {
        setThreads(threads);
        function();
    });
}

string XTBLibrary::takeError(Handle environment) const {
    if (checkEnvironment(environment) == 0)
        return "";
    std::vector<char> buffer(2048, '\0');
    const int size = static_cast<int>(buffer.size());
    getError(environment, buffer.data(), &size);
    string message(buffer.data());
    while (!message.empty() && (message.back() == '\n' || message.back() == ' '))
        message.pop_back();
    return message.empty() ? "unknown error" : message;
}

XTBLibrary::XTBLibrary(const string &path) {
    void *xtb = nullptr;
    if (!path.empty() && fs::is_regular_file(path)) {
        xtb = openLibrary(path);
    } else {
        if (!path.empty() && findLibrary(path, "libxtb").empty())
            throw OpenMMException("There is no libxtb in '" + path + "'. " + REMEDY);
        const fs::path folder = path.empty() ? findFolder() : fs::path(path);
        for (const char *stem : LOAD_ORDER) {
            const fs::path file = findLibrary(folder, stem);
            if (!file.empty())
                xtb = openLibrary(file);
        }
    }
    findThreadControls(xtb);
    resolve(xtb, "xtb_newEnvironment", newEnvironment);
    resolve(xtb, "xtb_newCalculator", newCalculator);
    resolve(xtb, "xtb_newResults", newResults);
    resolve(xtb, "xtb_newMolecule", newMolecule);
    resolve(xtb, "xtb_delEnvironment", delEnvironment);
    resolve(xtb, "xtb_delCalculator", delCalculator);
    resolve(xtb, "xtb_delResults", delResults);
    resolve(xtb, "xtb_delMolecule", delMolecule);
    resolve(xtb, "xtb_updateMolecule", updateMolecule);
    resolve(xtb, "xtb_checkEnvironment", checkEnvironment);
    resolve(xtb, "xtb_getError", getError);
    resolve(xtb, "xtb_setVerbosity", setVerbosity);
    resolve(xtb, "xtb_setOutput", setOutput);
    resolve(xtb, "xtb_releaseOutput", releaseOutput);
    resolve(xtb, "xtb_loadGFNFF", loadGFNFF);
    resolve(xtb, "xtb_loadGFN1xTB", loadGFN1xTB);
    resolve(xtb, "xtb_loadGFN2xTB", loadGFN2xTB);
    resolve(xtb, "xtb_setAccuracy", setAccuracy);
    resolve(xtb, "xtb_setElectronicTemp", setElectronicTemp);
    resolve(xtb, "xtb_setMaxIter", setMaxIter);
    resolve(xtb, "xtb_setExternalCharges", setExternalCharges);
    resolve(xtb, "xtb_releaseExternalCharges", releaseExternalCharges);
    resolve(xtb, "xtb_singlepoint", singlepoint);
    resolve(xtb, "xtb_getEnergy", getEnergy);
    resolve(xtb, "xtb_getGradient", getGradient);
    resolve(xtb, "xtb_getPCGradient", getPCGradient);
    resolve(xtb, "xtb_getCharges", getCharges);
    resolve(xtb, "xtb_getDipole", getDipole);
    resolve(xtb, "xtb_getNao", getNumOrbitals);
    resolve(xtb, "xtb_getOrbitalEigenvalues", getOrbitalEnergies);
    resolve(xtb, "xtb_getOrbitalOccupations", getOrbitalOccupations);
}

void XTBLibrary::findThreadControls(void *xtb) {
    // A symbol is searched in the library and in what it depends on, so this reaches OpenBLAS.
    openblasSetNumThreads = reinterpret_cast<void (*)(int)>(dlsym(xtb, "openblas_set_num_threads"));
    // libxtb runs on whichever OpenMP was visible first: torch makes its own visible to all, otherwise it is the one
    // beside libxtb.
    for (void *scope : {RTLD_DEFAULT, xtb}) {
        const auto found = reinterpret_cast<void (*)(int)>(dlsym(scope, "omp_set_num_threads"));
        if (found != nullptr && (openMPSetNumThreads.empty() || openMPSetNumThreads.front() != found))
            openMPSetNumThreads.push_back(found);
    }
}

/** OpenMP's limit belongs to the calling thread, which is libxtb's own. */
void XTBLibrary::setThreads(int threads) const {
    if (openblasSetNumThreads != nullptr)
        openblasSetNumThreads(threads);
    for (const auto setNumThreads : openMPSetNumThreads)
        setNumThreads(threads);
}

} // namespace KStep
