// The prediction of every bit against what the library gives.
#include "allreduce/prediction.hpp"

#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>
#include <deque>
#include <map>

#include "cpdcomm/codec.hpp"
#include "numerics/scale_exponent.hpp"
#include "perf/tree.hpp"
#include "reduction/float_reduction.hpp"
#include "schedule/proof.hpp"
#include "support/bits.hpp"
#include "support/patterns.hpp"
#include "support/random.hpp"
#include "support/ranks.hpp"

namespace cpdcomm::perf {
namespace {

using cpdcomm::testing::bits;
using cpdcomm::testing::gradients;
using cpdcomm::testing::index_of;
using cpdcomm::testing::outcome_of;
using cpdcomm::testing::PerRank;
using cpdcomm::testing::Random;
using cpdcomm::testing::Ranks;
using cpdcomm::testing::same_bits;

using Values = std::vector<float>;

Format format_of(DataType type) {
  return type == DataType::fp32 ? Format() : Format::parse(to_string(type));
}

/// What the values may be beside gradients of many magnitudes, zeros and subnormals.
enum class Special { none, huge, non_finite };

Values part_of(const Case& of, int rank, Special special) {
  Values values = gradients(of.count, 17 + static_cast<unsigned>(rank));
  Random random(static_cast<unsigned>(rank));
  const Values huge{FLT_MAX, -FLT_MAX, 0x1p127f, -0x1.8p126f};
  const Values non_finite{HUGE_VALF, -HUGE_VALF, NAN};
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (special == Special::none || random.below(50) != 0) continue;
    const Values& some = special == Special::huge ? huge : non_finite;
    // Gathered, so that there are groups without any.
    if (i / 256 % 2 == 0) values[i] = some[random.below(static_cast<std::uint32_t>(some.size()))];
  }
  quantize(values, format_of(of.type), values);
  return values;
}

PerRank<Values> parts_of(const Case& of, Special special) {
  PerRank<Values> parts;
  for (int rank = 0; rank < of.ranks; ++rank) parts.push_back(part_of(of, rank, special));
  return parts;
}

AllreduceOptions options_of(const Case& of) {
  return {.op = of.op,
          .wire = of.wire,
          .scaling = of.scaling,
          .accumulate = of.accumulate,
          .algorithm = of.algorithm};
}

/// What the library gives, as rank 0 has it.
Values sum_of(Ranks& ranks, const Case& of, const PerRank<Values>& parts) {
  const Format type = format_of(of.type);
  Values result(of.count);
  ranks.run([&](Communicator& self) {
    std::vector<std::byte> bytes(encoded_size(type, of.count));
    encode(parts[index_of(self)], type, bytes);
    const Tensor tensor{.data = bytes.data(), .count = of.count, .type = of.type};
    self.allreduce({&tensor, 1}, options_of(of));
    if (self.rank() == 0) decode(bytes, type, result);
  });
  return result;
}

Values largest_of(const Case& of, const PerRank<Values>& parts) {
  LargestByGroup largest(of);
  Random random(9);
  for (const Values& part : parts) {
    for (std::size_t first = 0; first < of.count;) {
      const std::size_t count = std::min<std::size_t>(1 + random.below(500), of.count - first);
      largest.see(first, std::span(part).subspan(first, count));
      first += count;
    }
  }
  return {largest.all().begin(), largest.all().end()};
}

/// Predicts a whole tensor in slices of random sizes up to `most` times the alignment.
Values predicted(Prediction& prediction, const Case& of, const PerRank<Values>& parts,
                 std::uint32_t most) {
  Random random(most);
  Values all(of.count, -77.0f);
  for (std::size_t first = 0; first < of.count;) {
    const std::size_t cut = (1 + random.below(most)) * prediction.alignment();
    const std::size_t count = std::min(cut, of.count - first);
    std::vector<const float*> slices;
    for (const Values& part : parts) slices.push_back(part.data() + first);
    prediction.predict(first, slices, std::span(all).subspan(first, count));
    first += count;
  }
  return all;
}

Values predicted(const Case& of, const PerRank<Values>& parts) {
  Prediction prediction(of, largest_of(of, parts));
  return predicted(prediction, of, parts, 1 << 20);
}

std::string describe(const Case& of, Special special) {
  return of.wire.to_string() + ", " + to_string(of.scaling) + ", " + to_string(of.accumulate) +
         ", " + to_string(of.algorithm) + ", " + to_string(of.op) + ", " + to_string(of.type) +
         ", " + std::to_string(of.ranks) + " ranks, " + std::to_string(of.count) +
         " values, special " + std::to_string(static_cast<int>(special));
}

void expect_predicted(Ranks& ranks, const Case& of, Special special) {
  SCOPED_TRACE(describe(of, special));
  const PerRank<Values> parts = parts_of(of, special);
  const Values wanted = sum_of(ranks, of, parts);
  Prediction prediction(of, largest_of(of, parts));
  ASSERT_TRUE(same_bits(predicted(prediction, of, parts, 1 << 20), wanted));
  ASSERT_TRUE(same_bits(predicted(prediction, of, parts, 40), wanted));
}

/// All ways to sum in a format that the library allows.
std::vector<Case> ways(Format wire) {
  std::vector<Case> all;
  for (const auto algorithm :
       {Algorithm::direct, Algorithm::ring, Algorithm::tree, Algorithm::halving_doubling}) {
    for (const auto accumulate : {Accumulate::wide, Accumulate::rounded, Accumulate::kahan}) {
      for (const Scaling scaling :
           {Scaling{Scaling::Kind::none, 0}, {Scaling::Kind::aps, 0}, {Scaling::Kind::aps, 64}}) {
        const bool scaled = scaling.kind == Scaling::Kind::aps;
        if (!wire.is_float() && (scaled || accumulate != Accumulate::wide)) continue;
        if (wire.hides_non_finite() && !scaled) continue;
        all.push_back(
            {.wire = wire, .scaling = scaling, .accumulate = accumulate, .algorithm = algorithm});
      }
    }
  }
  return all;
}

class Predictions : public ::testing::TestWithParam<const char*> {
 protected:
  Format wire() const { return Format::parse(GetParam()); }
};

TEST_P(Predictions, AreTheLibrarysBits) {
  for (int count = 1; count <= 4; ++count) {
    Ranks ranks(count);
    for (Case one : ways(wire())) {
      one.ranks = count;
      for (const std::size_t size : {0, 1, 7, 1000}) {
        one.count = size;
        for (const auto op : {ReduceOp::sum, ReduceOp::average}) {
          one.op = op;
          for (const auto special : {Special::none, Special::huge, Special::non_finite}) {
            expect_predicted(ranks, one, special);
          }
        }
      }
    }
  }
}

TEST_P(Predictions, AreTheLibrarysBitsOverManySegments) {
  for (const int count : {3, 4}) {
    Ranks ranks(count, Ranks::patient(8192));
    for (Case one : ways(wire())) {
      one.ranks = count;
      one.count = 70'001;
      expect_predicted(ranks, one, Special::none);
    }
  }
}

TEST_P(Predictions, AreTheLibrarysBitsInTensorsOf16Bits) {
  Ranks ranks(3);
  for (Case one : ways(wire())) {
    one.ranks = 3;
    one.count = 2003;
    for (const auto type : {DataType::fp16, DataType::bf16}) {
      one.type = type;
      for (const auto special : {Special::none, Special::huge, Special::non_finite}) {
        expect_predicted(ranks, one, special);
      }
      one.op = one.op == ReduceOp::sum ? ReduceOp::average : ReduceOp::sum;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, Predictions,
                         ::testing::Values("fp32", "e4m3", "e5m2", "e3m0", "bf16", "e4m3fn",
                                           "e2m1fn", "bfp8", "mxfp4", "int4", "sign"),
                         [](const auto& test) { return std::string(test.param); });

// --- what they tell apart ------------------------------------------------------------------------

TEST(Prediction, DependsOnEverything) {
  const Case base{.wire = Format::parse("e4m3"),
                  .scaling = {Scaling::Kind::aps, 0},
                  .accumulate = Accumulate::rounded,
                  .ranks = 4,
                  .count = 1000};
  std::vector<Case> others(6, base);
  others[0].wire = Format::parse("e4m3fn");
  others[1].scaling = {Scaling::Kind::aps, 64};
  others[2].accumulate = Accumulate::wide;
  others[3].accumulate = Accumulate::kahan;
  others[4].algorithm = Algorithm::ring;
  others[5].op = ReduceOp::average;
  PerRank<Values> parts = parts_of(base, Special::none);
  for (Values& part : parts) {
    for (std::size_t i = 0; i < part.size(); ++i) {
      part[i] = std::ldexp(part[i], -static_cast<int>(i / 64));  // or groups would scale alike
    }
  }
  const Values predicted_base = predicted(base, parts);
  for (const Case& other : others) {
    EXPECT_FALSE(same_bits(predicted(other, parts), predicted_base))
        << describe(other, Special::none);
  }
}

TEST(Prediction, FindsOneChangedBitOfOnePart) {
  const Case of{.algorithm = Algorithm::ring, .ranks = 4, .count = 70'001};
  PerRank<Values> parts(4, Values(of.count, 1.0f));
  const Values wanted = predicted(of, parts);
  Ranks ranks(4);
  for (const std::size_t place : {std::size_t{0}, std::size_t{35'000}, of.count - 1}) {
    parts[2][place] = 1.0f + 0x1p-20f;
    const Values got = sum_of(ranks, of, parts);
    parts[2][place] = 1.0f;
    for (std::size_t i = 0; i < of.count; ++i) {
      ASSERT_EQ(bits(got[i]) != bits(wanted[i]), i == place) << i;
    }
  }
}

TEST(LargestByGroup, SeesEveryGroup) {
  const Case of{.wire = Format::parse("e4m3"), .scaling = {Scaling::Kind::aps, 16}, .count = 50};
  LargestByGroup largest(of);
  EXPECT_EQ(largest.all().size(), 4u);
  Values values(50, 1.0f);
  values[15] = -3.0f;
  values[16] = 0x1p-149f;
  values[33] = NAN;
  values[49] = 7.0f;
  largest.see(0, std::span(values).first(20));
  largest.see(20, std::span(values).subspan(20));
  EXPECT_TRUE(same_bits(largest.all(), Values{3.0f, 1.0f, HUGE_VALF, 7.0f}));
  largest.see(8, Values{-5.0f});
  EXPECT_TRUE(same_bits(largest.all(), Values{5.0f, 1.0f, HUGE_VALF, 7.0f}));
  EXPECT_TRUE(LargestByGroup({.wire = Format::parse("bfp8"), .count = 50}).all().empty());
}

TEST(Prediction, IsOfferedForWhatItCovers) {
  EXPECT_TRUE(can_predict({}, DataType::fp32));
  EXPECT_TRUE(
      can_predict({.op = ReduceOp::average, .accumulate = Accumulate::kahan}, DataType::fp16));
  EXPECT_TRUE(can_predict({.wire = Format::parse("int8")}, DataType::bf16));
  EXPECT_FALSE(can_predict({}, DataType::fp64));
  EXPECT_FALSE(can_predict({}, DataType::int32));
  EXPECT_FALSE(can_predict({.op = ReduceOp::max}, DataType::fp32));
  EXPECT_FALSE(can_predict({.wire = Format::parse("e4m3"), .rounding = Rounding::stochastic},
                           DataType::fp32));
  EXPECT_TRUE(can_predict({.rounding = Rounding::stochastic}, DataType::fp16));
  EXPECT_FALSE(can_predict({.emulate_nodes = 2}, DataType::fp32));
}

TEST(Prediction, RefusesWhatHasNoMeaning) {
  const Case of{.wire = Format::parse("bfp8"), .ranks = 2, .count = 1000};
  const auto invalid = [](const std::function<void()>& work) {
    return outcome_of(work).is(ErrorCode::invalid_argument);
  };
  const Values one{1.0f};
  EXPECT_TRUE(invalid([&] { Prediction(of, one); }));
  Case other = of;
  other.ranks = 0;
  EXPECT_TRUE(invalid([&] { Prediction(other, {}); }));
  other = of;
  other.algorithm = Algorithm::automatic;
  EXPECT_TRUE(invalid([&] { Prediction(other, {}); }));
  other = of;
  other.type = DataType::fp64;
  EXPECT_TRUE(invalid([&] { Prediction(other, {}); }));
  EXPECT_TRUE(invalid([&] { LargestByGroup(of).see(1000, one); }));

  Prediction prediction(of, {});
  EXPECT_EQ(prediction.alignment(), 64u);
  Values values(1024);
  const float* const part = values.data();
  const std::vector<const float*> parts{part, part};
  const auto slice = [&](std::size_t first, std::size_t count, std::size_t ranks) {
    return invalid([&] {
      prediction.predict(first, std::span(parts).first(ranks), std::span(values).first(count));
    });
  };
  EXPECT_TRUE(slice(0, 64, 1));
  EXPECT_TRUE(slice(8, 56, 2));
  EXPECT_TRUE(slice(0, 8, 2));
  EXPECT_TRUE(slice(960, 64, 2));
  EXPECT_TRUE(slice(1024, 0, 2));
  EXPECT_FALSE(slice(960, 40, 2));
  EXPECT_FALSE(slice(0, 0, 2));
}

// --- other schedules -----------------------------------------------------------------------------

/// One rank of an all-reduce by schedule, with the library's reduction and without its engine.
struct Player {
  Values values;
  std::unique_ptr<reduction::FloatReduction> reduction;
  std::size_t step = 0;

  Player(const Case& of, Values part, std::span<const std::int16_t> exponents)
      : values(std::move(part)) {
    reduction::FloatTensor tensor{};
    tensor.sources = {values.data()};
    tensor.destination = values.data();
    tensor.count = of.count;
    tensor.codec = codec::codec_for(of.wire);
    tensor.exponents = exponents;
    tensor.group = of.scaling.group;
    reduction = reduction::make_float_reduction(of.accumulate, {tensor}, false, 1.0f);
  }
};

/// What the reductions of all ranks give when they follow schedules of one chunk.
Values played(const Case& of, const std::vector<schedule::Schedule>& by_rank,
              const PerRank<Values>& parts, std::span<const std::int16_t> exponents) {
  using schedule::Action;
  using Bytes = std::vector<std::byte>;
  std::deque<Player> players;
  for (const Values& part : parts) players.emplace_back(of, part, exponents);
  std::map<std::pair<int, int>, std::deque<Bytes>> in_flight;
  const reduction::Range range{0, 0, of.count};

  const auto play_step = [&](int rank, Player& player, const schedule::Step& step) {
    std::vector<Bytes> received;
    std::vector<reduction::Input> inputs;
    for (const auto& message : step.receive) {
      auto& queue = in_flight[{message.peer, rank}];
      if (queue.empty()) return false;
      received.push_back(queue.front());
    }
    for (std::size_t i = 0; i < received.size(); ++i) {
      in_flight[{step.receive[i].peer, rank}].pop_front();
      inputs.push_back({received[i].data(), step.receive[i].payload, step.receive[i].parts});
    }
    Bytes out(player.reduction->bytes(0, of.count, {Payload::partial, 1}));
    const bool last = step.action == Action::finish;
    if (step.action == Action::take) {
      out = received[0];
    } else if (step.action == Action::send_part) {
      player.reduction->encode_part({&range, 1}, {}, Leg::across_hosts, out.data());
    } else {
      player.reduction->join({&range, 1}, {inputs, static_cast<std::size_t>(step.own_after)},
                             {last ? Payload::result : Payload::partial, of.ranks}, out.data());
    }
    if (last || step.action == Action::take) player.reduction->deliver({&range, 1}, out.data());
    for (const auto& message : step.send) in_flight[{rank, message.peer}].push_back(out);
    return true;
  };
  for (bool moved = true; moved;) {
    moved = false;
    for (std::size_t rank = 0; rank < players.size(); ++rank) {
      Player& player = players[rank];
      while (player.step < by_rank[rank].steps.size() &&
             play_step(static_cast<int>(rank), player, by_rank[rank].steps[player.step])) {
        ++player.step;
        moved = true;
      }
    }
  }
  for (const Player& player : players) {
    EXPECT_TRUE(same_bits(player.values, players.front().values));
  }
  return players.front().values;
}

TEST(Prediction, FollowsAnySchedule) {
  const std::vector<schedule::Schedule> tree = testing::all_ranks_of_tree();
  ASSERT_EQ(schedule::disprove_allreduce(tree), "");
  for (const char* name : {"fp32", "e4m3", "e3m0", "bf16", "bfp8", "sign"}) {
    for (Case of : ways(Format::parse(name))) {
      of.ranks = 6;
      of.count = 1500;
      SCOPED_TRACE(describe(of, Special::none));
      const PerRank<Values> parts = parts_of(of, Special::none);
      const Values largest = largest_of(of, parts);
      std::vector<std::int16_t> exponents;
      for (const float x : largest) exponents.push_back(numerics::scale_exponent(bits(x), 6));
      Prediction prediction(of, largest, tree);
      const Values wanted = played(of, tree, parts, exponents);
      EXPECT_NE(bits(wanted[0]), bits(parts[0][0]));
      ASSERT_TRUE(same_bits(predicted(prediction, of, parts, 1 << 20), wanted));
      ASSERT_TRUE(same_bits(predicted(prediction, of, parts, 40), wanted));
    }
  }
}

}  // namespace
}  // namespace cpdcomm::perf
