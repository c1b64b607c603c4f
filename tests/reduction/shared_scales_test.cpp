#include "reduction/shared_scales.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "numerics/scale_exponent.hpp"
#include "reduction/element.hpp"
#include "reduction/join_trees.hpp"
#include "support/bits.hpp"
#include "support/patterns.hpp"
#include "support/random.hpp"

namespace cpdcomm::testing {
namespace {

using reduction::Gradients;
using reduction::Reduction;
using reduction::ScaledTensor;
using reduction::SharedScales;
using reduction::Words;
using Bytes = std::vector<std::byte>;
using Values = std::vector<float>;

/// One tensor on all ranks.
struct Tensor {
  DataType type = DataType::fp32;
  std::size_t group = 0;
  std::vector<std::vector<Values>> parts;  // [rank][node]
  std::vector<Values> residuals;           // [rank], or none
  std::vector<int> exponents;              // [rank], or none
};

std::size_t count_of(const Tensor& tensor) { return tensor.parts[0][0].size(); }

Tensor tensor_of(std::size_t ranks, std::size_t nodes, std::size_t count, std::size_t group) {
  Tensor tensor;
  tensor.group = group;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    tensor.parts.emplace_back();
    for (std::size_t node = 0; node < nodes; ++node) {
      tensor.parts.back().push_back(gradients(count, static_cast<unsigned>(rank * 10 + node)));
    }
  }
  return tensor;
}

/// The words that every rank ends with, [rank][tensor].
template <typename Word>
class Agreement {
 public:
  Agreement(const std::vector<Tensor>& tensors, const Words<Word>& words_of) {
    for (std::size_t rank = 0; rank < tensors[0].parts.size(); ++rank) {
      add_rank(tensors, rank, words_of);
    }
  }

  void reach(unsigned seed) {
    Random random(seed);
    reduce_at_random(all_, random);
  }

  /// What all ranks have, who must have the same.
  const std::vector<std::vector<Word>>& words() const {
    for (const auto& of_rank : words_) EXPECT_EQ(of_rank, words_[0]);
    return words_[0];
  }

 private:
  void add_rank(const std::vector<Tensor>& tensors, std::size_t rank, const Words<Word>& words_of) {
    auto& words = words_.emplace_back();
    std::vector<ScaledTensor<Word>> scaled;
    for (const Tensor& tensor : tensors) {
      words.emplace_back(reduction::groups(count_of(tensor), tensor.group), Word{123});
    }
    for (std::size_t t = 0; t < tensors.size(); ++t) {
      scaled.push_back({gradients_of(tensors[t], rank), tensors[t].group, words[t]});
    }
    owners_.push_back(std::make_unique<SharedScales<Word>>(scaled, words_of));
    all_.push_back(owners_.back().get());
  }

  Gradients gradients_of(const Tensor& tensor, std::size_t rank) {
    Gradients from{{}, count_of(tensor), tensor.type};
    for (const Values& part : tensor.parts[rank]) {
      auto& bytes =
          stored_.emplace_back(std::make_unique<Bytes>(part.size() * size_of(tensor.type)));
      reduction::codec_of(tensor.type).encode(part.data(), part.size(), {}, bytes->data());
      from.sources.push_back(bytes->data());
    }
    if (!tensor.residuals.empty()) {
      from.residual = kept_.emplace_back(std::make_unique<Values>(tensor.residuals[rank]))->data();
    }
    if (!tensor.exponents.empty()) from.input_exponent = tensor.exponents[rank];
    return from;
  }

  std::vector<std::unique_ptr<Bytes>> stored_;
  std::vector<std::unique_ptr<Values>> kept_;
  std::vector<std::unique_ptr<SharedScales<Word>>> owners_;
  std::vector<Reduction*> all_;
  std::vector<std::vector<std::vector<Word>>> words_;
};

/// The largest magnitude of a group over all ranks and nodes, in FP64.
double largest(const Tensor& tensor, std::size_t group) {
  const std::size_t length = tensor.group == 0 ? count_of(tensor) : tensor.group;
  const std::size_t last = std::min(count_of(tensor), (group + 1) * length);
  double most = 0;
  for (std::size_t rank = 0; rank < tensor.parts.size(); ++rank) {
    for (const Values& part : tensor.parts[rank]) {
      for (std::size_t i = group * length; i < last; ++i) {
        float x = part[i];
        reduction::codec_of(tensor.type).round(&x, 1, {}, &x);
        if (!tensor.residuals.empty()) x += tensor.residuals[rank][i];
        const int exponent = tensor.exponents.empty() ? 0 : tensor.exponents[rank];
        most = std::max(most, std::ldexp(std::abs(static_cast<double>(x)), exponent));
      }
    }
  }
  return most;
}

/// ceil(log2(largest * world)); products of 24 bits and a small number are exact.
std::int16_t aps_exponent(double largest, double world) {
  if (largest == 0) return numerics::kNothing;
  int exponent = 0;
  const double fraction = std::frexp(largest * world, &exponent);
  return static_cast<std::int16_t>(fraction == 0.5 ? exponent - 1 : exponent);
}

void expect_aps(const std::vector<Tensor>& tensors) {
  const std::size_t world = tensors[0].parts.size() * tensors[0].parts[0].size();
  Agreement<std::int16_t> agreement(tensors, reduction::aps_words(world));
  for (const unsigned seed : {1u, 2u, 3u}) {
    agreement.reach(seed);
    for (std::size_t t = 0; t < tensors.size(); ++t) {
      const auto& words = agreement.words()[t];
      for (std::size_t g = 0; g < words.size(); ++g) {
        ASSERT_EQ(words[g], aps_exponent(largest(tensors[t], g), static_cast<double>(world)))
            << "group " << g << " of tensor " << t;
      }
    }
  }
}

TEST(SharedScales, OfApsAreTheLargestOverAllRanksAndNodes) {
  for (const auto& [ranks, nodes] : {std::pair{1, 1}, {2, 1}, {7, 1}, {3, 4}}) {
    const auto r = static_cast<std::size_t>(ranks);
    const auto n = static_cast<std::size_t>(nodes);
    expect_aps({tensor_of(r, n, 1000, 0), tensor_of(r, n, 1000, 64), tensor_of(r, n, 9, 8),
                tensor_of(r, n, 2500, 2048)});
  }
}

TEST(SharedScales, OfHalvesAndWithResidualsAndPowersOfTwo) {
  std::vector<Tensor> tensors;
  for (const DataType type : {DataType::fp32, DataType::bf16, DataType::fp16}) {
    for (const bool fed_back : {false, true}) {
      Tensor tensor = tensor_of(3, 1, 3000, 1024);
      tensor.type = type;
      tensor.exponents = {0, -20, 9};
      if (fed_back) {
        for (unsigned rank = 0; rank < 3; ++rank) {
          tensor.residuals.push_back(gradients(3000, 50 + rank));
        }
      }
      tensors.push_back(tensor);
    }
  }
  expect_aps(tensors);
}

TEST(SharedScales, OfApsSayWhatIsZeroAndWhatIsNotFinite) {
  for (const float spoiled : {std::numeric_limits<float>::quiet_NaN(), HUGE_VALF, -HUGE_VALF}) {
    Tensor tensor = tensor_of(3, 2, 24, 8);
    tensor.exponents = {300, -300, 0};
    for (auto& rank : tensor.parts) {
      for (Values& part : rank) std::fill_n(part.begin(), 8, -0.0f);
    }
    tensor.parts[1][1][9] = spoiled;
    Agreement<std::int16_t> agreement({tensor}, reduction::aps_words(6));
    agreement.reach(4);
    const auto& words = agreement.words()[0];
    EXPECT_EQ(words[0], numerics::kNothing);
    EXPECT_EQ(words[1], numerics::kNonFinite);
    EXPECT_EQ(words[2], aps_exponent(largest(tensor, 2), 6));
  }
}

TEST(SharedScales, OfExactAreThoseOfItsBlocks) {
  for (const char* name : {"bfp8:16", "int8:16"}) {
    const codec::Exact exact(Format::parse(name), 3);
    Tensor tensor = tensor_of(3, 1, 1000, 16);
    tensor.exponents = {0, 4, -4};
    tensor.parts[1][0][40] = HUGE_VALF;
    Agreement<std::uint32_t> agreement({tensor}, reduction::exact_words(exact));
    agreement.reach(5);
    const auto& words = agreement.words()[0];
    ASSERT_EQ(words.size(), 63u);
    for (std::size_t g = 0; g < words.size(); ++g) {
      const auto most = static_cast<float>(largest(tensor, g));
      EXPECT_EQ(words[g], exact.word(bits(most))) << g;
      EXPECT_EQ(exact.is_nan(words[g]), g == 2);
    }
  }
}

TEST(SharedScales, OfExactAreNanWhereAPowerOfTwoOverflows) {
  const codec::Exact exact(Format::parse("bfp8:8"), 2);
  Tensor tensor = tensor_of(2, 1, 8, 8);
  tensor.exponents = {300, 0};
  Agreement<std::uint32_t> agreement({tensor}, reduction::exact_words(exact));
  agreement.reach(6);
  EXPECT_TRUE(exact.is_nan(agreement.words()[0][0]));
}

TEST(SharedScales, OfMajorityFindOneValueThatIsNotFinite) {
  Tensor clean = tensor_of(4, 1, 5000, 0);
  Tensor spoiled = clean;
  spoiled.parts[3][0][4999] = std::numeric_limits<float>::quiet_NaN();
  Agreement<std::uint32_t> agreement({clean, spoiled}, reduction::non_finite_words());
  agreement.reach(7);
  EXPECT_EQ(agreement.words()[0], std::vector<std::uint32_t>{0});
  EXPECT_EQ(agreement.words()[1], std::vector<std::uint32_t>{1});
}

TEST(SharedScales, AreKeptAsTheyJoin) {
  const codec::Exact exact(Format::parse("int8:8"), 2);
  const Values values{1.0f, -3.0f};
  std::uint32_t word = 0;
  const Gradients from{{values.data()}, 2, DataType::fp32};
  SharedScales<std::uint32_t> scales({{from, 8, {&word, 1}}}, reduction::exact_words(exact));
  const reduction::Range all{0, 0, 1};
  for (const float other : {5.0f, 2.0f}) {
    const std::uint32_t received = bits(other);
    const reduction::Input input{reinterpret_cast<const std::byte*>(&received), Payload::part, 1};
    scales.keep({&all, 1}, {{&input, 1}, 0});
    EXPECT_EQ(word, bits(std::max(3.0f, other)));
  }
}

/// Bytes of the words of five groups of 8 values.
template <typename Word>
std::size_t bytes_of_five(const Words<Word>& words_of) {
  std::vector<Word> words(reduction::groups(1001, 8));
  SharedScales<Word> scales({{{{nullptr}, 1001, DataType::fp32}, 8, words}}, words_of);
  EXPECT_EQ(scales.count(0), 126u);
  EXPECT_EQ(scales.alignment(0), 1u);
  return scales.bytes(0, 5, {Payload::partial, 3});
}

TEST(SharedScales, TakeNoMoreBytesThanTheyNeed) {
  EXPECT_EQ(bytes_of_five(reduction::aps_words(1)), 10u);
  EXPECT_EQ(bytes_of_five(reduction::exact_words({Format::parse("int4:8"), 2})), 20u);
  EXPECT_EQ(bytes_of_five(reduction::exact_words({Format::parse("bfp4:8"), 2})), 5u);
  EXPECT_EQ(bytes_of_five(reduction::non_finite_words()), 5u);
}

/// Words that count how often they are worked out.
Words<std::int16_t> counting_words(int& count) {
  Words<std::int16_t> words = reduction::aps_words(2);
  words.of = [of = words.of, &count](std::uint32_t largest_bits, int exponent) {
    ++count;
    return of(largest_bits, exponent);
  };
  return words;
}

TEST(SharedScalesOfOneRank, ReadGradientsOnceToSendAndToJoin) {
  const Values values = gradients(1000, 1);
  const std::size_t groups = reduction::groups(values.size(), 24);
  std::vector<std::int16_t> words(groups);
  int count = 0;
  const Gradients from{{values.data()}, values.size(), DataType::fp32};
  SharedScales<std::int16_t> scales({{from, 24, words}}, counting_words(count));
  const reduction::Range all{0, 0, groups};
  std::vector<std::int16_t> sent(groups);
  std::vector<std::int16_t> result(groups);
  const auto bytes = [](std::vector<std::int16_t>& of) {
    return reinterpret_cast<std::byte*>(of.data());
  };
  scales.encode_part({&all, 1}, {}, Leg::across_hosts, bytes(sent));
  EXPECT_EQ(count, static_cast<int>(groups));
  std::vector<std::int16_t> other = sent;
  for (std::size_t i = 0; i < groups; i += 2) ++other[i];
  const reduction::Input input{bytes(other), Payload::part, 1};
  scales.join({&all, 1}, {{&input, 1}, 0}, {Payload::result, 2}, bytes(result));
  EXPECT_EQ(count, static_cast<int>(groups));
  EXPECT_EQ(result, other);
  scales.deliver({&all, 1}, bytes(result));
  EXPECT_EQ(words, other);
  // What is agreed is not taken for this rank's own.
  scales.encode_part({&all, 1}, {}, Leg::across_hosts, bytes(result));
  EXPECT_EQ(result, sent);
  EXPECT_EQ(count, static_cast<int>(2 * groups));
}

}  // namespace
}  // namespace cpdcomm::testing
