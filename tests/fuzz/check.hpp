#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

namespace cpdcomm::fuzz {

/// Ends the process, which libFuzzer records with its input, unless `holds`.
inline void check(bool holds, const char* what, const std::string& format) {
  if (holds) return;
  std::fprintf(stderr, "%s: %s\n", format.c_str(), what);
  std::abort();
}

}  // namespace cpdcomm::fuzz
