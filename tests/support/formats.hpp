#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cpdcomm/format.hpp"

namespace cpdcomm::testing {

/// All 8 x 24 float formats.
inline std::vector<Format> all_formats() {
  std::vector<Format> formats;
  for (int exp_bits = 1; exp_bits <= 8; ++exp_bits) {
    for (int man_bits = 0; man_bits <= 23; ++man_bits) {
      formats.push_back(Format::floating(exp_bits, man_bits));
    }
  }
  return formats;
}

/// Formats whose codes end everywhere in a byte, and the three that are most used.
inline std::vector<Format> awkward_formats() {
  std::vector<Format> formats;
  for (const char* name : {"e3m0", "e2m3", "e4m3", "e5m2", "e5m5", "bf16", "fp32"}) {
    formats.push_back(Format::parse(name));
  }
  return formats;
}

/// Names a test by its format.
inline std::string print_format(const ::testing::TestParamInfo<Format>& test) {
  return test.param.to_string();
}

}  // namespace cpdcomm::testing
