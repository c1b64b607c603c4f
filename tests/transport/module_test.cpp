#include "transport/module.hpp"

#include <gtest/gtest.h>

#include "cpdcomm/error.hpp"

namespace cpdcomm::testing {
namespace {

TEST(Module, SaysWhatIsMissing) {
  for (int attempt = 0; attempt < 2; ++attempt) {
    try {
      transport::load_module("carrier-pigeon");
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unsupported);
      EXPECT_NE(std::string(error.what()).find("carrier-pigeon"), std::string::npos);
    }
    EXPECT_FALSE(transport::is_loaded("carrier-pigeon"));
  }
}

}  // namespace
}  // namespace cpdcomm::testing
