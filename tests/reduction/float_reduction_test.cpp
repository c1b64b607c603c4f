#include "reduction/float_reduction.hpp"

#include <gtest/gtest.h>

#include "support/bits.hpp"
#include "support/formats.hpp"
#include "support/patterns.hpp"
#include "support/reference_cast.hpp"

namespace cpdcomm::testing {
namespace {

using reduction::FloatReduction;
using reduction::FloatTensor;
using reduction::Input;
using reduction::Range;

constexpr std::size_t kCount = 4500;  // more than two blocks

/// One rank's reduction of one tensor, `nodes` times the same gradients.
class OneTensor {
 public:
  OneTensor(Format wire, Accumulate accumulate, std::size_t nodes = 1, bool parts_travel = true)
      : values_(gradients(kCount, 1)), out_(kCount) {
    FloatTensor tensor{};
    tensor.sources.assign(nodes, values_.data());
    tensor.destination = out_.data();
    tensor.count = kCount;
    tensor.type = DataType::fp32;
    tensor.codec = codec::codec_for(wire);
    reduction_ = reduction::make_float_reduction(accumulate, {tensor}, parts_travel, 1.0f);
  }

  FloatReduction& operator*() { return *reduction_; }
  FloatReduction* operator->() { return reduction_.get(); }
  const std::vector<float>& values() const { return values_; }
  const std::vector<float>& out() const { return out_; }

  std::vector<std::byte> part(Range range) {
    std::vector<std::byte> bytes(reduction_->bytes(0, range.count, {Payload::part, 1}));
    reduction_->encode_part({&range, 1}, {}, Leg::across_hosts, bytes.data());
    return bytes;
  }

 private:
  std::vector<float> values_;
  std::vector<float> out_;
  std::unique_ptr<FloatReduction> reduction_;
};

TEST(FloatReduction, SaysHowLargeMessagesAre) {
  const Format e5m5 = Format::floating(5, 5);
  const auto bytes = [&](Accumulate accumulate, std::size_t nodes, Payload payload) {
    OneTensor tensor(e5m5, accumulate, nodes);
    return tensor->bytes(0, 9, {payload, 3});
  };
  for (const auto payload : {Payload::part, Payload::partial, Payload::result}) {
    EXPECT_EQ(bytes(Accumulate::wide, 1, payload), 13u);
    EXPECT_EQ(bytes(Accumulate::rounded, 4, payload), 13u);
  }
  EXPECT_EQ(bytes(Accumulate::kahan, 1, Payload::part), 13u);
  EXPECT_EQ(bytes(Accumulate::kahan, 1, Payload::partial), 26u);
  EXPECT_EQ(bytes(Accumulate::kahan, 4, Payload::part), 26u);
  EXPECT_EQ(bytes(Accumulate::kahan, 4, Payload::result), 13u);
}

TEST(FloatReduction, EncodesPartsAlikeHoweverTheyAreCut) {
  for (const Format wire : awkward_formats()) {
    for (const std::size_t nodes : {std::size_t{1}, std::size_t{3}}) {
      SCOPED_TRACE(::testing::Message() << wire.to_string() << ", " << nodes << " nodes");
      OneTensor tensor(wire, Accumulate::rounded, nodes);
      const std::vector<std::byte> whole = tensor.part({0, 0, kCount});
      std::vector<std::byte> pieces;
      for (std::size_t first = 0; first < kCount; first += 1048) {
        const auto piece = tensor.part({0, first, std::min<std::size_t>(1048, kCount - first)});
        pieces.insert(pieces.end(), piece.begin(), piece.end());
      }
      EXPECT_EQ(pieces, whole);
    }
  }
}

TEST(FloatReduction, EncodesAPartAsItsCast) {
  for (const Format wire : awkward_formats()) {
    OneTensor tensor(wire, Accumulate::wide);
    std::vector<float> decoded(kCount);
    decode(tensor.part({0, 0, kCount}), wire, decoded);
    for (std::size_t i = 0; i < kCount; ++i) {
      ASSERT_EQ(bits(decoded[i]), bits(reference_cast(tensor.values()[i], wire)));
    }
  }
}

TEST(FloatReduction, WritesNotPastItsMessages) {
  for (const auto accumulate : {Accumulate::wide, Accumulate::kahan}) {
    OneTensor tensor(Format::floating(5, 5), accumulate, 2);
    const Range range{0, 1000, 1500};
    const std::size_t size = tensor->bytes(0, range.count, {Payload::part, 1});
    std::vector<std::byte> room(size + 16, std::byte{0x5a});
    tensor->encode_part({&range, 1}, {}, Leg::across_hosts, room.data());
    const std::vector<std::byte> part = room;
    const Input input{part.data(), Payload::part, 1};
    tensor->join({&range, 1}, {{&input, 1}, 1}, {Payload::partial, 2}, room.data());
    const std::size_t joined = tensor->bytes(0, range.count, {Payload::partial, 2});
    for (std::size_t i = std::max(size, joined); i < room.size(); ++i) {
      ASSERT_EQ(room[i], std::byte{0x5a}) << i;
    }
  }
}

TEST(FloatReduction, DeliversToItsRangeOnly) {
  OneTensor tensor(Format(), Accumulate::wide);
  const Range range{0, 8, 16};
  const std::vector<float> result(16, 3.0f);
  tensor->deliver({&range, 1}, reinterpret_cast<const std::byte*>(result.data()));
  for (std::size_t i = 0; i < kCount; ++i) {
    ASSERT_EQ(tensor.out()[i], i >= 8 && i < 24 ? 3.0f : 0.0f);
  }
  EXPECT_FALSE(tensor->non_finite(0));
}

TEST(FloatReduction, JoinsItsOwnPartWhereItIsTold) {
  // 1 + 2^-24 + 2^-24 depends on the order.
  const float small = 0x1p-24f;
  float own = 1.0f;
  float out = 0;
  FloatTensor tensor{};
  tensor.sources = {&own};
  tensor.destination = &out;
  tensor.count = 1;
  tensor.codec = codec::codec_for(Format());
  auto reduction = reduction::make_float_reduction(Accumulate::wide, {tensor}, true, 1.0f);
  const Range range{0, 0, 1};
  const auto* bytes = reinterpret_cast<const std::byte*>(&small);
  const std::vector<Input> inputs(2, {bytes, Payload::part, 1});
  float sums[3];
  for (std::size_t own_after = 0; own_after < 3; ++own_after) {
    reduction->join({&range, 1}, {inputs, own_after}, {Payload::result, 3},
                    reinterpret_cast<std::byte*>(&sums[own_after]));
  }
  EXPECT_EQ(sums[0], 1.0f);
  EXPECT_EQ(sums[1], 1.0f);
  EXPECT_EQ(sums[2], 1.0f + 0x1p-23f);
}

}  // namespace
}  // namespace cpdcomm::testing
