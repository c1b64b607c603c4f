#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>

#include "support/jitter_transport.hpp"
#include "support/ranks.hpp"

namespace cpdcomm::testing {
namespace {

#ifdef CPDCOMM_LIGHT_TESTS
constexpr std::size_t kSizes[] = {0, 1, 7, 1000, 200000};
#else
constexpr std::size_t kSizes[] = {0, 1, 7, 8, 9, 1000, 61000, 61391, 61392, 61393, 1 << 20};
#endif

std::vector<std::byte> pattern(std::size_t size, int seed) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>((i * 7 + i / 251 + static_cast<std::size_t>(seed)) & 0xffu);
  }
  return bytes;
}

/// The usual ranks and a slow network.
template <typename F>
void for_networks(int count, F&& work) {
  Ranks ranks(count);
  work(ranks);
  Ranks slow(make_jitter_communicators(count, 1, Ranks::patient()));
  work(slow);
}

TEST(Broadcast, CopiesTheRootsBytes) {
  for (int count = 1; count <= 8; ++count) {
    for_networks(count, [&](Ranks& ranks) {
      ranks.run([&](Communicator& self) {
        for (const std::size_t size : kSizes) {
          for (int root = 0; root < count; ++root) {
            auto bytes = pattern(size, self.rank() == root ? 99 : self.rank());
            self.broadcast(bytes, root);
            ASSERT_EQ(bytes, pattern(size, 99)) << size << " bytes of " << root;
          }
        }
      });
    });
  }
}

TEST(Broadcast, RefusesARootThatDoesNotExist) {
  Ranks ranks(3);
  for (const int root : {-1, 3, 1000}) {
    const auto outcomes = ranks.outcomes([&](Communicator& self) {
      std::vector<std::byte> bytes(10);
      self.broadcast(bytes, root);
    });
    for (const Outcome& outcome : outcomes) {
      EXPECT_TRUE(outcome.is(ErrorCode::invalid_argument)) << outcome;
    }
  }
}

TEST(Allgather, CollectsInRankOrder) {
  for (int count = 1; count <= 8; ++count) {
    for_networks(count, [&](Ranks& ranks) {
      ranks.run([&](Communicator& self) {
        for (const std::size_t size : kSizes) {
          const auto mine = pattern(size, self.rank());
          std::vector<std::byte> all(size * static_cast<std::size_t>(count));
          self.allgather(mine, all);
          for (int rank = 0; rank < count; ++rank) {
            const auto begin = all.begin() + static_cast<std::ptrdiff_t>(size) * rank;
            const auto wanted = pattern(size, rank);
            ASSERT_TRUE(std::equal(wanted.begin(), wanted.end(), begin)) << size << " bytes";
          }
        }
      });
    });
  }
}

TEST(Allgather, MayBeInPlace) {
  Ranks ranks(4);
  ranks.run([&](Communicator& self) {
    constexpr std::size_t kSize = 150000;
    std::vector<std::byte> all(4 * kSize);
    const auto own = pattern(kSize, self.rank());
    const std::span<std::byte> mine(all.data() + index_of(self) * kSize, kSize);
    std::copy(own.begin(), own.end(), mine.begin());
    self.allgather(mine, all);
    for (int rank = 0; rank < 4; ++rank) {
      const auto wanted = pattern(kSize, rank);
      ASSERT_TRUE(std::equal(wanted.begin(), wanted.end(),
                             all.begin() + static_cast<std::ptrdiff_t>(kSize) * rank));
    }
  });
}

TEST(Allgather, RefusesRoomOfAnotherSize) {
  Ranks ranks(2);
  const auto outcomes = ranks.outcomes([&](Communicator& self) {
    std::vector<std::byte> mine(10);
    std::vector<std::byte> all(19);
    self.allgather(mine, all);
  });
  for (const Outcome& outcome : outcomes) {
    EXPECT_TRUE(outcome.is(ErrorCode::invalid_argument)) << outcome;
  }
}

TEST(Barrier, WaitsForEverybody) {
  for (const int count : {1, 2, 3, 7}) {
    for_networks(count, [&](Ranks& ranks) {
      std::atomic<int> entered{0};
      ranks.run([&](Communicator& self) {
        for (int round = 1; round <= 20; ++round) {
          ++entered;
          self.barrier();
          ASSERT_GE(entered.load(), round * count);
        }
      });
    });
  }
}

}  // namespace
}  // namespace cpdcomm::testing
