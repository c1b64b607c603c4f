#include "collective/layout.hpp"

#include <gtest/gtest.h>

#include "collective/message.hpp"
#include "reduction/float_reduction.hpp"
#include "reduction/plain.hpp"
#include "support/formats.hpp"
#include "support/random.hpp"

namespace cpdcomm::testing {
namespace {

using collective::Layout;
using reduction::Range;
using reduction::Reduction;

std::vector<std::size_t> random_counts(Random& random) {
  std::vector<std::size_t> counts(random.below(12));
  for (std::size_t& count : counts) {
    const std::uint32_t limits[] = {1, 2, 20, 300, 5000};
    count = random.below(limits[random.below(5)]);
  }
  return counts;
}

/// Tensors of mixed formats.
std::unique_ptr<Reduction> float_reduction(const std::vector<std::size_t>& counts,
                                           Accumulate accumulate, bool delayed, Random& random) {
  const std::vector<Format> formats = all_formats();
  const std::size_t nodes = 1 + random.below(2);
  std::vector<reduction::FloatTensor> tensors;
  for (const std::size_t count : counts) {
    reduction::FloatTensor tensor{};
    tensor.sources.resize(nodes);
    tensor.count = count;
    tensor.codec = codec::codec_for(formats[random.below(192)]);
    if (delayed) tensor.delayed_world = 5;  // messages carry exponents beside the values
    tensors.push_back(tensor);
  }
  return reduction::make_float_reduction(accumulate, tensors, true, 1.0f);
}

std::unique_ptr<Reduction> plain_reduction(const std::vector<std::size_t>& counts, Random& random) {
  const DataType types[] = {DataType::int8, DataType::bf16, DataType::int32, DataType::fp64};
  std::vector<reduction::PlainTensor> tensors;
  for (const std::size_t count : counts) {
    tensors.push_back({nullptr, nullptr, count, types[random.below(4)]});
  }
  return std::make_unique<reduction::Plain>(tensors, ReduceOp::sum, 2);
}

std::size_t body_bytes(const Reduction& reduction, const std::vector<Range>& slice) {
  std::size_t most = 0;
  for (const Payload payload : {Payload::part, Payload::partial, Payload::result}) {
    std::size_t bytes = 0;
    for (const Range& range : slice) {
      bytes += reduction.bytes(range.tensor, range.count, {payload, 5});
    }
    most = std::max(most, bytes);
  }
  return most;
}

/// Every value lies in one slice, in order; cuts are aligned; no slice is too large.
void expect_whole(const Layout& layout, const Reduction& reduction, std::size_t chunks,
                  std::size_t segment_bytes) {
  std::size_t tensor = 0;
  std::size_t index = 0;
  std::vector<Range> slice;
  const auto skip_finished = [&] {
    while (tensor < reduction.tensors() && index == reduction.count(tensor)) {
      ++tensor;
      index = 0;
    }
  };
  for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
    for (std::size_t segment = 0; segment < layout.segments(); ++segment) {
      layout.slice(chunk, segment, slice);
      for (const Range& range : slice) {
        skip_finished();
        ASSERT_EQ(range.tensor, tensor);
        ASSERT_EQ(range.first, index);
        ASSERT_EQ(range.first % reduction.alignment(tensor), 0u);
        ASSERT_GT(range.count, 0u);
        index += range.count;
        ASSERT_LE(index, reduction.count(tensor));
      }
      ASSERT_LT(body_bytes(reduction, slice), segment_bytes + 8 * 2 * sizeof(float));
      ASSERT_LE(body_bytes(reduction, slice), collective::kLargestBody);
    }
  }
  skip_finished();
  ASSERT_EQ(tensor, reduction.tensors());
}

TEST(Layout, CutsEverythingOnce) {
  Random random(1);
  const std::size_t largest = collective::kLargestBody - 8 * 2 * sizeof(float);
  for (int round = 0; round < 600; ++round) {
    SCOPED_TRACE(round);
    const std::vector<std::size_t> counts = random_counts(random);
    const auto accumulate = round % 3 == 0 ? Accumulate::kahan : Accumulate::wide;
    const auto reduction = round % 2 == 0
                               ? float_reduction(counts, accumulate, round % 4 == 0, random)
                               : plain_reduction(counts, random);
    const std::size_t segment_bytes = round % 5 == 0 ? largest : 64 + random.below(500);
    const int chunks = 1 + static_cast<int>(random.below(9));
    const auto count = static_cast<std::size_t>(chunks);
    expect_whole(Layout::balanced(*reduction, chunks, chunks, segment_bytes), *reduction, count,
                 segment_bytes);
    expect_whole(Layout::by_tensor(*reduction, 5, segment_bytes), *reduction, counts.size(),
                 segment_bytes);
  }
}

void expect_balance(const Reduction& reduction) {
  const Layout layout = Layout::balanced(reduction, 4, 4, 60000);
  std::size_t least = SIZE_MAX;
  std::size_t most = 0;
  std::vector<Range> slice;
  for (std::size_t chunk = 0; chunk < 4; ++chunk) {
    std::size_t bytes = 0;
    for (std::size_t segment = 0; segment < layout.segments(); ++segment) {
      layout.slice(chunk, segment, slice);
      bytes += body_bytes(reduction, slice);
    }
    least = std::min(least, bytes);
    most = std::max(most, bytes);
  }
  EXPECT_LE(most - least, 128u);
}

TEST(Layout, BalancesChunks) {
  Random random(2);
  const std::vector<std::size_t> counts{1000, 0, 3, 100000, 7};
  expect_balance(*plain_reduction(counts, random));
  for (const bool delayed : {false, true}) {
    expect_balance(*float_reduction(counts, Accumulate::wide, delayed, random));
  }
}

/// A last round of lanes that is not full, or a last segment that is short, leaves a link idle.
TEST(Layout, FillsRoundsWithSegmentsOfOneLength) {
  constexpr std::size_t kLongest = 1000;
  for (const std::size_t count : {5001u, 40000u, 41003u, 70077u}) {
    SCOPED_TRACE(count);
    const reduction::Plain plain({{nullptr, nullptr, count, DataType::int8}}, ReduceOp::sum, 2);
    const Layout layout = Layout::balanced(plain, 2, 4, kLongest);
    const std::size_t least = (count / 4 + kLongest - 1) / kLongest;
    EXPECT_GE(layout.segments(), least);
    EXPECT_LT(layout.segments(), least + collective::kSegmentsUnderWay);
    if (least > collective::kSegmentsUnderWay) {
      EXPECT_EQ(layout.segments() % collective::kSegmentsUnderWay, 0u);
    }
    std::vector<Range> slice;
    for (std::size_t segment = 0; segment < layout.segments(); ++segment) {
      layout.slice(0, segment, slice);
      ASSERT_EQ(slice.size(), 1u);
      EXPECT_LE(slice[0].count, kLongest);
      // What a cut is moved by to stand between whole bytes of all, the last segment lacks.
      const std::size_t even = count / 4 / layout.segments();
      EXPECT_GE(slice[0].count + 8 * layout.segments(), even);
      EXPECT_LE(slice[0].count, even + 8);
    }
  }
}

TEST(Layout, KeepsGroupsTogetherThatAMessageHolds) {
  Random random(4);
  const auto fit = [&](std::size_t count, std::size_t group, Accumulate accumulate) {
    reduction::FloatTensor tensor{};
    tensor.sources.resize(1);
    tensor.count = count;
    tensor.codec = codec::codec_for(Format::floating(3, 2));
    const auto reduction = reduction::make_float_reduction(accumulate, {tensor}, false, 1.0f);
    return collective::groups_fit_a_message(*reduction, 4, {{group}});
  };
  for (const std::size_t count : {0u, 1u, 16000u, 10000000u}) {
    SCOPED_TRACE(count);
    EXPECT_TRUE(fit(count, 65536, Accumulate::wide));
    EXPECT_FALSE(fit(count, 65536, Accumulate::kahan));
    // A tensor of fewer values is not one group that fits: it would be one rank's alone.
    EXPECT_FALSE(fit(count, 100000, Accumulate::wide));
    EXPECT_FALSE(fit(count, std::size_t{1} << 62, Accumulate::wide));
  }
}

TEST(Layout, HasASegmentForNothing) {
  Random random(3);
  const auto reduction = plain_reduction({}, random);
  const Layout layout = Layout::balanced(*reduction, 3, 3, 64);
  EXPECT_EQ(layout.segments(), 1u);
  std::vector<Range> slice(1);
  layout.slice(2, 0, slice);
  EXPECT_TRUE(slice.empty());
}

}  // namespace
}  // namespace cpdcomm::testing
