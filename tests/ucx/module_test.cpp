// UCX as a module: loaded by its name from beside the library.
#include <gtest/gtest.h>

#include "cpdcomm/world.hpp"
#include "support/bits.hpp"
#include "ucx/ranks.hpp"

namespace cpdcomm::testing {
namespace {

TEST(UcxModule, ConnectsTheRanksOfABootstrap) {
  auto ranks =
      connect_all(2, [](Bootstrap& bootstrap) { return make_communicator("ucx", bootstrap); });
  std::vector<float> first(100, 1.0f);
  std::vector<float> second(100, 2.0f);
  std::thread other([&] { ranks[1].allreduce(second); });
  ranks[0].allreduce(first);
  other.join();
  EXPECT_TRUE(same_bits(first, std::vector<float>(100, 3.0f)));
  EXPECT_TRUE(same_bits(second, first));
}

TEST(UcxModule, HasNoLauncher) {
  try {
    World::load("ucx");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_NE(std::string(error.what()).find("Bootstrap"), std::string::npos) << error.what();
  }
}

TEST(UcxModule, OtherNetworksAreMissing) {
  const Scratch scratch;
  FileBootstrap bootstrap(scratch.path(), 0, 1);
  try {
    make_communicator("carrier-pigeon", bootstrap);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_NE(std::string(error.what()).find("carrier-pigeon"), std::string::npos);
  }
}

}  // namespace
}  // namespace cpdcomm::testing
