#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "cpdcomm/communicator.hpp"

// What every network must carry: each function is called on all ranks.
namespace cpdcomm::testing {

using Words = std::vector<std::uint32_t>;

/// What rank `from` has for rank `to`, told apart from all else.
inline Words words(int from, int to, std::size_t count) {
  Words made(count);
  for (std::size_t i = 0; i < count; ++i) {
    made[i] = static_cast<std::uint32_t>(from) * 1000003u +
              static_cast<std::uint32_t>(to) * 10007u + static_cast<std::uint32_t>(i);
  }
  return made;
}

inline std::span<const std::byte> bytes_of(const Words& words) {
  return std::as_bytes(std::span(words));
}
inline std::span<std::byte> bytes_of(Words& words) {
  return std::as_writable_bytes(std::span(words));
}

inline void append(Words& all, const Words& more) {
  all.insert(all.end(), more.begin(), more.end());
}

inline void check_gather(Communicator& self, std::size_t count) {
  for (int root = 0; root < self.size(); ++root) {
    const Words mine = words(self.rank(), root, count);
    Words all(self.rank() == root ? static_cast<std::size_t>(self.size()) * count : 0);
    self.gather(bytes_of(mine), bytes_of(all), root);
    Words expected;
    for (int from = 0; self.rank() == root && from < self.size(); ++from) {
      append(expected, words(from, root, count));
    }
    EXPECT_EQ(all, expected) << "root " << root;
  }
}

inline void check_scatter(Communicator& self, std::size_t count) {
  for (int root = 0; root < self.size(); ++root) {
    Words all;
    for (int to = 0; self.rank() == root && to < self.size(); ++to) {
      append(all, words(root, to, count));
    }
    Words mine(count);
    self.scatter(bytes_of(all), bytes_of(mine), root);
    EXPECT_EQ(mine, words(root, self.rank(), count)) << "root " << root;
  }
}

inline void check_alltoall(Communicator& self, std::size_t count) {
  Words to_all;
  Words expected;
  for (int peer = 0; peer < self.size(); ++peer) {
    append(to_all, words(self.rank(), peer, count));
    append(expected, words(peer, self.rank(), count));
  }
  Words from_all(to_all.size());
  self.alltoall(bytes_of(to_all), bytes_of(from_all));
  EXPECT_EQ(from_all, expected);
}

/// Parts of any size: rank f has f * t * count + t words for rank t, so rank 0 gets no more than
/// the least.
inline void check_uneven_alltoall(Communicator& self, std::size_t count) {
  const auto size = [&](int from, int to) {
    return static_cast<std::size_t>(from * to) * count + static_cast<std::size_t>(to);
  };
  Words to_all;
  Words expected;
  std::vector<std::size_t> to_sizes;
  std::vector<std::size_t> from_sizes;
  for (int peer = 0; peer < self.size(); ++peer) {
    append(to_all, words(self.rank(), peer, size(self.rank(), peer)));
    append(expected, words(peer, self.rank(), size(peer, self.rank())));
    to_sizes.push_back(size(self.rank(), peer) * sizeof(std::uint32_t));
    from_sizes.push_back(size(peer, self.rank()) * sizeof(std::uint32_t));
  }
  Words from_all(expected.size());
  self.alltoall(bytes_of(to_all), to_sizes, bytes_of(from_all), from_sizes);
  EXPECT_EQ(from_all, expected);
}

/// Integers, of which all ranks know the sum and the largest.
inline void check_reduce(Communicator& self, std::size_t count) {
  const auto value = [](int rank, std::size_t i) {
    return static_cast<std::int64_t>(rank + 1) * (static_cast<std::int64_t>(i % 97) - 40);
  };
  for (int root = 0; root < self.size(); ++root) {
    for (const ReduceOp op : {ReduceOp::sum, ReduceOp::max}) {
      std::vector<std::int64_t> mine(count);
      std::vector<std::int64_t> expected(count);
      for (std::size_t i = 0; i < count; ++i) {
        mine[i] = value(self.rank(), i);
        std::int64_t sum = 0;
        std::int64_t largest = std::numeric_limits<std::int64_t>::min();
        for (int rank = 0; rank < self.size(); ++rank) {
          sum += value(rank, i);
          largest = std::max(largest, value(rank, i));
        }
        expected[i] = self.rank() != root ? mine[i] : op == ReduceOp::sum ? sum : largest;
      }
      const Tensor tensor{.data = mine.data(), .count = count, .type = DataType::int64};
      self.reduce({&tensor, 1}, root, op);
      EXPECT_EQ(mine, expected) << "root " << root << ", " << to_string(op);
    }
  }
}

/// Integers and a maximum, which no wire format carries.
inline void check_plain_reduce_scatter(Communicator& self, std::size_t count) {
  const auto ranks = static_cast<std::size_t>(self.size());
  for (const Algorithm algorithm : {Algorithm::direct, Algorithm::ring}) {
    std::vector<std::int32_t> parts(ranks * count);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      parts[i] =
          static_cast<std::int32_t>(i * 7 % 1009) * (self.rank() % 2 == 0 ? 1 : -1) + self.rank();
    }
    std::vector<std::int32_t> share(count, -1);
    const Tensor place{.data = share.data(), .count = count, .type = DataType::int32};
    self.reduce_scatter(parts.data(), DataType::int32, place,
                        {.op = ReduceOp::max, .algorithm = algorithm});
    std::vector<std::int32_t> expected(count, std::numeric_limits<std::int32_t>::min());
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t at = static_cast<std::size_t>(self.rank()) * count + i;
      for (int rank = 0; rank < self.size(); ++rank) {
        expected[i] =
            std::max(expected[i],
                     static_cast<std::int32_t>(at * 7 % 1009) * (rank % 2 == 0 ? 1 : -1) + rank);
      }
    }
    EXPECT_EQ(share, expected) << to_string(algorithm);
  }
}

/// Every rank to every other one, all at once, with two tags that are received the other way round.
inline void check_transfers(Communicator& self, std::size_t count) {
  std::vector<Words> sent;
  std::vector<Words> received;
  for (int peer = 0; peer < 2 * self.size(); ++peer) {
    sent.push_back(words(self.rank(), peer, count));
    received.emplace_back(count);
  }
  std::vector<Transfer> transfers;
  for (int peer = 0; peer < self.size(); ++peer) {
    if (peer == self.rank()) continue;
    const auto place = static_cast<std::size_t>(peer);
    const auto other = place + static_cast<std::size_t>(self.size());
    transfers.push_back(self.irecv(bytes_of(received[other]), peer, 9));
    transfers.push_back(self.isend(bytes_of(sent[place]), peer, 4));
    transfers.push_back(self.isend(bytes_of(sent[other]), peer, 9));
    transfers.push_back(self.irecv(bytes_of(received[place]), peer, 4));
  }
  for (Transfer& transfer : transfers) transfer.wait();
  for (int peer = 0; peer < self.size(); ++peer) {
    if (peer == self.rank()) continue;
    const auto place = static_cast<std::size_t>(peer);
    EXPECT_EQ(received[place], words(peer, self.rank(), count)) << "from rank " << peer;
    EXPECT_EQ(received[place + static_cast<std::size_t>(self.size())],
              words(peer, self.rank() + self.size(), count))
        << "from rank " << peer;
  }
}

inline void check_collectives(Communicator& self, std::size_t count) {
  SCOPED_TRACE(count);
  check_gather(self, count);
  check_scatter(self, count);
  check_alltoall(self, count);
  check_uneven_alltoall(self, count);
  check_reduce(self, count);
  check_plain_reduce_scatter(self, count);
  check_transfers(self, count);
}

}  // namespace cpdcomm::testing
