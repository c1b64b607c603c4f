#include "mpi/world.hpp"
#include "support/bits.hpp"
#include "support/random.hpp"

namespace cpdcomm::testing {
namespace {

using Values = std::vector<float>;

const AllreduceOptions kUsual{.wire = Format::floating(4, 3)};

/// What the odd one out does instead of summing 1000 values.
void deviate(Communicator& self, std::uint32_t kind) {
  AllreduceOptions options = kUsual;
  Values values(1000);
  switch (kind) {
    case 0:
      values.resize(100000);
      break;
    case 1:
      options.wire = Format::floating(5, 2);
      break;
    case 2:
      options.algorithm = Algorithm::ring;
      break;
    case 3:
      options.emulate_nodes = -1;
      break;
    case 4:
      self.barrier();
      return;
    case 5:
      self.refuse("no such tensor here");
      throw Error(ErrorCode::mismatch, "it was this rank that refused");
    default:
      values.clear();
  }
  self.allreduce(values, options);
}

void expect_right(Communicator& world, std::size_t count) {
  Values values(count, 1.0f);
  world.allreduce(values, kUsual);
  ASSERT_TRUE(same_bits(values, Values(count, static_cast<float>(world.size()))));
}

TEST(MpiMismatch, IsFoundByAllAndForgotten) {
  Communicator world = make_world();
  if (world.size() == 1) return;
  Random random(3);
  for (int round = 0; round < 100 && !HasFailure(); ++round) {
    const int odd = static_cast<int>(random.below(static_cast<std::uint32_t>(world.size())));
    const std::uint32_t kind = random.below(7);
    const std::size_t next = random.below(200000);
    try {
      if (world.rank() == odd) {
        deviate(world, kind);
      } else {
        Values values(1000);
        world.allreduce(values, kUsual);
      }
      ADD_FAILURE() << "no error in round " << round << ", kind " << kind;
    } catch (const Error& error) {
      const bool invalid = world.rank() == odd && kind == 3;
      EXPECT_EQ(error.code(), invalid ? ErrorCode::invalid_argument : ErrorCode::mismatch)
          << "round " << round << ", kind " << kind << ": " << error.what();
    }
    expect_right(world, next);
  }
}

TEST(MpiMismatch, LeavesNothingBehindThatTheEndWaitsFor) {
  for (int round = 0; round < 20; ++round) {
    Communicator world = make_world();
    if (world.size() == 1) return;
    // Messages so large that MPI keeps them until their receiver comes.
    Values values(world.rank() == round % world.size() ? 400000 : 300000, 1.0f);
    EXPECT_THROW(world.allreduce(values), Error);
    if (round % 3 == 0) expect_right(world, 1000);
  }
}

TEST(MpiMismatch, IsNotHeardInTheNextCommunicator) {
  // MPI gives a new communicator the place of one that has ended.
  for (int round = 0; round < 10; ++round) {
    {
      Communicator world = make_world();
      if (world.size() == 1) return;
      Values values(world.rank() == round % world.size() ? 10 : 20, 1.0f);
      EXPECT_THROW(world.allreduce(values), Error);  // few values: only one channel is listened to
    }
    Communicator next = make_world();
    expect_right(next, 1000000);
  }
}

}  // namespace
}  // namespace cpdcomm::testing
