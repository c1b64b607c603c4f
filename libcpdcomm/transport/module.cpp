#include "transport/module.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <map>
#include <mutex>

#include "cpdcomm/error.hpp"
#include "process.hpp"

namespace cpdcomm::transport {
namespace {

std::string folder_of_this_library() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&load_module), &info) == 0) return ".";
  const std::string path = info.dli_fname;
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

/// @throws Error unsupported that says what is missing
void* open_library(const std::string& name) {
  const std::string path = fmt::format("{}/libcpdcomm_{}.so", folder_of_this_library(), name);
  // Global, because MPI loads plug-ins that look for its symbols.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    throw Error(ErrorCode::unsupported,
                fmt::format("the transport '{}' cannot be loaded: {}", name, dlerror()));
  }
  return library;
}

/// A function of a network's library.
/// @param otherwise  what to tell when the library has none
template <typename Function>
Function* find(const std::string& name, const char* function, const char* otherwise) {
  void* symbol = dlsym(open_library(name), function);
  if (symbol == nullptr) {
    throw Error(ErrorCode::unsupported, fmt::format("the transport '{}' {}", name, otherwise));
  }
  return reinterpret_cast<Function*>(symbol);
}

/// The modules that are loaded, and the lock that guards them.
struct Loaded {
  std::mutex mutex;
  std::map<std::string, Module*> modules;
};

/// A fork has loaded none: what its parent started is not for its use.
Loaded& loaded() {
  static PerProcess<Loaded> all;
  return all.get();
}

}  // namespace

Module& load_module(const std::string& name) {
  Loaded& all = loaded();
  const std::lock_guard lock(all.mutex);
  Module*& module = all.modules[name];
  if (module == nullptr) {
    module = find<LoadModule>(name, kLoadModule,
                              "has no launcher that knows the ranks; give it a Bootstrap")();
  }
  return *module;
}

std::unique_ptr<Transport> connect_ranks(const std::string& name, Bootstrap& bootstrap,
                                         const CommunicatorOptions& options) {
  auto* const connect = find<ConnectRanks>(
      name, kConnectRanks, "knows the ranks from its launcher and takes no Bootstrap");
  return std::unique_ptr<Transport>(connect(bootstrap, options));
}

void require_module(const std::string& name) { open_library(name); }

bool is_loaded(const std::string& name) {
  Loaded& all = loaded();
  const std::lock_guard lock(all.mutex);
  const auto found = all.modules.find(name);
  return found != all.modules.end() && found->second != nullptr;
}

}  // namespace cpdcomm::transport
