#include "reduction/plain.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "cpdcomm/error.hpp"

namespace cpdcomm::testing {
namespace {

using reduction::Input;
using reduction::Plain;
using reduction::Range;

TEST(Plain, KnowsSizes) {
  const Plain plain({{nullptr, nullptr, 5, DataType::int8}, {nullptr, nullptr, 7, DataType::fp64}},
                    ReduceOp::sum, 2);
  EXPECT_EQ(plain.tensors(), 2u);
  EXPECT_EQ(plain.count(1), 7u);
  EXPECT_EQ(plain.bytes(0, 3, {Payload::part, 1}), 3u);
  EXPECT_EQ(plain.bytes(1, 3, {Payload::partial, 2}), 24u);
}

TEST(Plain, JoinsRangesOfSeveralTensorsAtUnalignedPlaces) {
  std::int8_t bytes_in[3] = {1, 2, 3};
  std::int64_t longs_in[2] = {10, 20};
  std::int8_t bytes_out[3] = {};
  std::int64_t longs_out[2] = {};
  Plain plain({{bytes_in, bytes_out, 3, DataType::int8}, {longs_in, longs_out, 2, DataType::int64}},
              ReduceOp::sum, 2);
  const std::vector<Range> slice{{0, 0, 3}, {1, 0, 2}};
  std::vector<std::byte> own(19);
  plain.encode_part(slice, {}, Leg::across_hosts, own.data());
  std::vector<std::byte> sum(20, std::byte{0x77});
  const Input input{own.data(), Payload::part, 1};
  plain.join(slice, {{&input, 1}, 0}, {Payload::result, 2}, sum.data());
  EXPECT_EQ(sum[19], std::byte{0x77});
  plain.deliver(slice, sum.data());
  EXPECT_EQ(bytes_out[2], 6);
  EXPECT_EQ(longs_out[0], 20);
  EXPECT_EQ(longs_out[1], 40);
  EXPECT_EQ(longs_in[1], 20);
}

TEST(Plain, JoinsInTheOrderItIsTold) {
  float own = 1.0f;
  float out = 0;
  Plain plain({{&own, &out, 1, DataType::fp32}}, ReduceOp::sum, 3);
  const Range range{0, 0, 1};
  const float small = 0x1p-24f;
  const auto* bytes = reinterpret_cast<const std::byte*>(&small);
  const std::vector<Input> inputs(2, {bytes, Payload::part, 1});
  float sums[3];
  for (std::size_t own_after = 0; own_after < 3; ++own_after) {
    plain.join({&range, 1}, {inputs, own_after}, {Payload::result, 3},
               reinterpret_cast<std::byte*>(&sums[own_after]));
  }
  EXPECT_EQ(sums[0], 1.0f);
  EXPECT_EQ(sums[1], 1.0f);
  EXPECT_EQ(sums[2], 1.0f + 0x1p-23f);
}

TEST(Plain, RefusesOperatorsThatATypeHasNot) {
  const auto make = [](DataType type, ReduceOp op) { Plain({{nullptr, nullptr, 0, type}}, op, 2); };
  for (const auto type : {DataType::fp32, DataType::bf16, DataType::fp16, DataType::fp64}) {
    for (const auto op : {ReduceOp::bit_and, ReduceOp::bit_or, ReduceOp::bit_xor}) {
      EXPECT_THROW(make(type, op), Error);
    }
  }
  for (const auto type :
       {DataType::int8, DataType::uint8, DataType::int16, DataType::int32, DataType::int64}) {
    EXPECT_THROW(make(type, ReduceOp::average), Error);
    EXPECT_NO_THROW(make(type, ReduceOp::bit_xor));
  }
}

}  // namespace
}  // namespace cpdcomm::testing
