#pragma once

#include <string>
#include <vector>

namespace cpdcomm::perf {

/// The processor's name, or "unknown" where the system does not tell.
std::string cpu_model();

/// The SIMD instruction sets that the system reports, in its own words.
std::string instruction_sets();

/// The cores that this process may run on.
std::vector<int> usable_cores();

/// Keeps the calling thread on one core while it lives. Where the system refuses, the thread stays
/// as free as it was.
class Pinned {
 public:
  explicit Pinned(int core);
  ~Pinned();
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

 private:
  std::vector<int> before_;
};

}  // namespace cpdcomm::perf
