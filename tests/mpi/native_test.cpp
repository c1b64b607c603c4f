// MPI's own all-reduce, where the table of times says that it is the fastest.
#include <cmath>
#include <limits>

#include "mpi/native_table.hpp"
#include "mpi/world.hpp"
#include "support/bits.hpp"

namespace cpdcomm::testing {
namespace {

Communicator make_native_world(bool check = false) {
  return make_mpi_communicator(
      MPI_COMM_WORLD, {.timeout = std::chrono::seconds(60), .tuning = kNativeOnly, .check = check});
}

const Algorithm kOwn = Algorithm::direct;

/// Small numbers whose every reduction is exact.
template <typename T>
std::vector<T> numbers(int rank) {
  std::vector<T> values(1001);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<T>(1 + (i + static_cast<std::size_t>(rank)) % 3);
  }
  return values;
}

/// Holds the native reduction of a type against the library's own.
template <typename T>
void expect_native(Communicator& world, DataType type, ReduceOp op, bool native) {
  SCOPED_TRACE(to_string(type) + " " + to_string(op));
  const std::vector<T> part = numbers<T>(world.rank());
  std::vector<T> own = part;
  std::vector<T> got(part.size());
  const Tensor by_name{.data = own.data(), .count = own.size(), .type = type};
  const Tensor free{.data = got.data(), .count = got.size(), .type = type, .input = part.data()};
  world.allreduce({&by_name, 1}, {.op = op, .algorithm = kOwn});
  const Report report = world.allreduce({&free, 1}, {.op = op});
  EXPECT_EQ(got, own);
  const bool taken = native && world.size() > 1;
  EXPECT_EQ(report.algorithm == Algorithm::native, taken);
  EXPECT_EQ(report.non_finite, std::vector<bool>(taken ? 0 : 1, false));
}

TEST(MpiNative, ReducesAllTypesThatMpiHas) {
  Communicator world = make_native_world();
  for (const auto op : {ReduceOp::sum, ReduceOp::product, ReduceOp::min, ReduceOp::max}) {
    const bool any_order = op == ReduceOp::sum || op == ReduceOp::product;
    expect_native<float>(world, DataType::fp32, op, any_order);
    expect_native<double>(world, DataType::fp64, op, any_order);
    expect_native<std::int8_t>(world, DataType::int8, op, true);
    expect_native<std::uint8_t>(world, DataType::uint8, op, true);
    expect_native<std::int16_t>(world, DataType::int16, op, true);
    expect_native<std::int32_t>(world, DataType::int32, op, true);
    expect_native<std::int64_t>(world, DataType::int64, op, true);
  }
  for (const auto op : {ReduceOp::bit_and, ReduceOp::bit_or, ReduceOp::bit_xor}) {
    expect_native<std::int32_t>(world, DataType::int32, op, true);
  }
  expect_native<float>(world, DataType::fp32, ReduceOp::average, true);
  expect_native<double>(world, DataType::fp64, ReduceOp::average, true);
  expect_native<std::uint16_t>(world, DataType::bf16, ReduceOp::sum, false);
}

TEST(MpiNative, DeclinesToCompressAndSaysSo) {
  Communicator world = make_native_world();
  if (world.size() == 1) return;
  std::vector<float> values(100, 1.0f + 0x1p-20f);
  const Report report = world.allreduce(values, {.wire = Format::floating(4, 3)});
  EXPECT_EQ(report.algorithm, Algorithm::native);
  EXPECT_FALSE(report.compressed);
  EXPECT_EQ(report.logical_bytes, 400u);
  const auto ranks = static_cast<float>(world.size());
  EXPECT_EQ(values, std::vector<float>(100, ranks * (1.0f + 0x1p-20f)));
}

TEST(MpiNative, IsNotTakenForNamedAlgorithmsOrOtherSumsOrWithChecks) {
  Communicator world = make_native_world();
  Communicator checking = make_native_world(true);
  std::vector<float> values(100, 1.0f);
  const Format wire = Format::floating(4, 3);
  for (const auto algorithm : {Algorithm::direct, Algorithm::ring, Algorithm::tree,
                               Algorithm::halving_doubling, Algorithm::hierarchical}) {
    const Report report = world.allreduce(values, {.wire = wire, .algorithm = algorithm});
    EXPECT_EQ(report.algorithm, algorithm);
    EXPECT_TRUE(report.compressed);
  }
  for (const auto accumulate : {Accumulate::rounded, Accumulate::kahan}) {
    const Report report = world.allreduce(values, {.wire = wire, .accumulate = accumulate});
    EXPECT_NE(report.algorithm, Algorithm::native);
    EXPECT_TRUE(report.compressed);
  }
  EXPECT_NE(checking.allreduce(values).algorithm, Algorithm::native);
}

TEST(MpiNative, BringsWhatIsNotFiniteToEverybody) {
  Communicator world = make_native_world();
  std::vector<float> good(50, 1.0f);
  std::vector<float> apart(7);
  std::vector<float> bad(50, 1.0f);
  if (world.rank() == 0) bad[3] = -std::numeric_limits<float>::quiet_NaN();
  if (world.rank() == world.size() - 1) bad[20] = HUGE_VALF;
  const std::vector<Tensor> tensors{{.data = good.data(), .count = good.size()},
                                    {.data = apart.data(), .count = 0},
                                    {.data = bad.data(), .count = bad.size()}};
  const Report report = world.allreduce(tensors);
  const bool native = report.algorithm == Algorithm::native;
  EXPECT_EQ(report.non_finite,
            native ? std::vector<bool>() : (std::vector<bool>{false, false, true}));
  EXPECT_EQ(good, std::vector<float>(50, static_cast<float>(world.size())));
  EXPECT_TRUE(std::isnan(bad[3]));
  EXPECT_EQ(bad[20], HUGE_VALF);
  bad[3] = 0;  // of a NaN the bits may differ
  EXPECT_TRUE(same_on_all_ranks(std::as_bytes(std::span(bad))));
}

/// Tensors side by side on one rank need not be so on another.
TEST(MpiNative, SumsTensorsWhereverTheyLie) {
  Communicator world = make_native_world();
  const bool together = world.rank() % 2 == 0;
  std::vector<float> flat(60, 1.0f);
  std::vector<float> other(30, 1.0f);
  float* const second = together ? flat.data() + 30 : other.data();
  const std::vector<Tensor> tensors{{.data = flat.data(), .count = 30},
                                    {.data = second, .count = 30}};
  world.allreduce(tensors, {.op = ReduceOp::sum});
  const auto ranks = static_cast<float>(world.size());
  EXPECT_EQ(std::vector<float>(flat.begin(), flat.begin() + 30), std::vector<float>(30, ranks));
  EXPECT_EQ(std::vector<float>(second, second + 30), std::vector<float>(30, ranks));
}

/// Only rank 0's table counts, and what it says of checks.
TEST(MpiNative, FollowsTheTableOfRank0) {
  int rank = 0;
  int ranks = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  if (ranks == 1) return;
  const CommunicatorOptions mine{.timeout = std::chrono::seconds(60),
                                 .tuning = rank == 0 ? kNativeOnly : "no such file",
                                 .check = rank != 0};
  Communicator world = make_mpi_communicator(MPI_COMM_WORLD, mine);
  std::vector<float> values(100, 1.0f);
  EXPECT_EQ(world.allreduce(values).algorithm, Algorithm::native);
}

TEST(MpiNative, AWrongTableOfRank0IsAnErrorOnEveryRank) {
  int rank = 0;
  int ranks = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  if (ranks == 1) return;
  Communicator world = make_mpi_communicator(
      MPI_COMM_WORLD, {.timeout = std::chrono::seconds(60), .tuning = "no such file"});
  std::vector<float> values(100, 1.0f);
  for (int i = 0; i < 3; ++i) {
    try {
      world.allreduce(values);
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), rank == 0 ? ErrorCode::invalid_argument : ErrorCode::mismatch);
      EXPECT_NE(std::string(error.what()).find("no such file"), std::string::npos) << error.what();
    }
    MPI_Barrier(MPI_COMM_WORLD);  // who leaves at once is said to have left, and not why
  }
  EXPECT_EQ(values, std::vector<float>(100, 1.0f));
}

}  // namespace
}  // namespace cpdcomm::testing
