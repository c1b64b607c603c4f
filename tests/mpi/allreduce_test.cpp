#include <cmath>
#include <thread>

#include "mpi/world.hpp"
#include "support/bits.hpp"
#include "support/formats.hpp"
#include "support/patterns.hpp"
#include "support/reference_sum.hpp"

namespace cpdcomm::testing {
namespace {

using Values = std::vector<float>;

Values gradients_of(int rank, std::size_t count) {
  return gradients(count, 40u + static_cast<unsigned>(rank));
}

/// Holds some of the values of a direct all-reduce against the reference.
void expect_some_right(const Values& got, int ranks, const SumRules& rules) {
  if (got.empty()) return;
  std::vector<Parts> by_rank;
  for (int rank = 0; rank < ranks; ++rank) by_rank.push_back({gradients_of(rank, got.size())});
  const ReferenceSum reference(by_rank, rules);
  const std::size_t step = got.size() / 500 + 1;
  for (std::size_t i = 0; i < got.size(); i += step) {
    ASSERT_EQ(bits(got[i]), bits(reference.at(i, 0))) << i;
  }
}

void expect_sum(Communicator& world, std::size_t count, const SumRules& rules) {
  SCOPED_TRACE(::testing::Message()
               << count << " values, " << rules.wire.to_string() << ", "
               << to_string(rules.algorithm) << ", " << to_string(rules.accumulate));
  Values values = gradients_of(world.rank(), count);
  Values again = values;
  const Report report = world.allreduce(values, rules.options());
  world.allreduce(again, rules.options());
  EXPECT_TRUE(same_on_all_ranks(std::as_bytes(std::span(values))));
  EXPECT_TRUE(same_bits(again, values));
  EXPECT_EQ(report.non_finite, std::vector<bool>{false});
  if (rules.algorithm == Algorithm::direct) expect_some_right(values, world.size(), rules);
}

TEST(MpiAllreduce, HasTheSameBitsOnEveryRankAndInEveryRun) {
  Communicator world = make_world();
  for (const auto algorithm : {Algorithm::direct, Algorithm::ring}) {
    for (const Format wire : awkward_formats()) {
      for (const std::size_t count : {0u, 1u, 2u, 7u, 9u, 1000u, 65537u}) {
        expect_sum(world, count, {.wire = wire, .algorithm = algorithm});
      }
    }
    for (const auto accumulate : {Accumulate::rounded, Accumulate::kahan}) {
      expect_sum(
          world, 20001,
          {.wire = Format::floating(4, 3), .accumulate = accumulate, .algorithm = algorithm});
    }
    expect_sum(world, 1 << 20, {.wire = Format::floating(4, 3), .algorithm = algorithm});
  }
}

TEST(MpiAllreduce, SendsFewBytes) {
  Communicator world = make_world();
  constexpr std::size_t kCount = 1 << 20;
  for (const auto algorithm : {Algorithm::direct, Algorithm::ring}) {
    Values values(kCount, 1.0f);
    const Report report =
        world.allreduce(values, {.wire = Format::floating(4, 3), .algorithm = algorithm});
    const double ranks = world.size();
    const double wanted = 2 * (ranks - 1) / ranks * kCount;
    EXPECT_GE(static_cast<double>(report.wire_bytes), wanted);
    EXPECT_LE(static_cast<double>(report.wire_bytes), 1.02 * wanted);
  }
}

TEST(MpiAllreduce, BringsWhatIsNotFiniteToEverybody) {
  Communicator world = make_world();
  for (const auto kind : {Scaling::Kind::none, Scaling::Kind::aps}) {
    Values good(50, 1.0f);
    Values bad(50, 1.0f);
    if (world.rank() == world.size() - 1) bad[20] = -HUGE_VALF;
    const std::vector<Tensor> tensors{{.data = good.data(), .count = 50},
                                      {.data = bad.data(), .count = 50}};
    const Report report =
        world.allreduce(tensors, {.wire = Format::floating(4, 3), .scaling = {kind, 0}});
    EXPECT_EQ(report.non_finite, (std::vector<bool>{false, true}));
    EXPECT_FALSE(std::isfinite(bad[20]));
    EXPECT_TRUE(same_bits(good, Values(50, static_cast<float>(world.size()))));
    EXPECT_TRUE(same_on_all_ranks(std::as_bytes(std::span(bad))));
  }
}

TEST(MpiAllreduce, DoesNotDependOnTheSegments) {
  Communicator world = make_world();
  Communicator chopped = make_world(256);
  Values values = gradients_of(world.rank(), 30001);
  Values others = values;
  const AllreduceOptions options{.wire = Format::floating(5, 5), .algorithm = Algorithm::direct};
  world.allreduce(values, options);
  chopped.allreduce(others, options);
  EXPECT_TRUE(same_bits(others, values));
}

TEST(MpiCollectives, SpreadBytes) {
  Communicator world = make_world();
  const auto ranks = static_cast<std::size_t>(world.size());
  for (const std::size_t size : {0u, 1u, 1000u, 300000u}) {
    for (int root = 0; root < world.size(); ++root) {
      std::vector<std::byte> bytes(size, static_cast<std::byte>(world.rank()));
      world.broadcast(bytes, root);
      EXPECT_EQ(bytes, std::vector<std::byte>(size, static_cast<std::byte>(root)));
    }
    const std::vector<std::byte> mine(size, static_cast<std::byte>(world.rank()));
    std::vector<std::byte> all(size * ranks);
    world.allgather(mine, all);
    for (std::size_t i = 0; i < all.size(); ++i) {
      ASSERT_EQ(all[i], static_cast<std::byte>(i / size));
    }
    world.barrier();
  }
}

TEST(MpiCommunicators, AreMadeOfIntracommunicatorsOnly) {
  int ranks = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  if (ranks == 1) return;
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm side = MPI_COMM_NULL;
  MPI_Comm bridge = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, rank == 0 ? 0 : 1, 0, &side);
  MPI_Intercomm_create(side, 0, MPI_COMM_WORLD, rank == 0 ? 1 : 0, 0, &bridge);
  EXPECT_THROW(make_mpi_communicator(bridge), Error);
  MPI_Comm_free(&bridge);
  MPI_Comm_free(&side);
}

TEST(MpiCommunicators, OfSomeRanksAndOfAllRunAtTheSameTime) {
  Communicator world = make_world();
  MPI_Comm half = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, world.rank() % 2, -world.rank(), &half);
  Communicator part = make_mpi_communicator(half);
  MPI_Comm_free(&half);
  const auto sum = [](Communicator& over) {
    for (int round = 0; round < 30; ++round) {
      Values values(20000, 1.0f);
      over.allreduce(values, {.wire = Format::floating(4, 3)});
      ASSERT_TRUE(same_bits(values, Values(20000, static_cast<float>(over.size()))));
    }
  };
  std::thread other(sum, std::ref(part));
  sum(world);
  other.join();
}

}  // namespace
}  // namespace cpdcomm::testing
