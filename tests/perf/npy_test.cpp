#include "allreduce/npy.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

#include "cpdcomm/codec.hpp"
#include "support/bits.hpp"
#include "support/random.hpp"
#include "support/ranks.hpp"

namespace cpdcomm::perf {
namespace {

using cpdcomm::testing::bits;
using cpdcomm::testing::Outcome;
using cpdcomm::testing::outcome_of;
using cpdcomm::testing::Random;
using cpdcomm::testing::same_bits;
using cpdcomm::testing::value_of;

using Values = std::vector<float>;

const Values kAwkward{0.0f, -0.0f, 0x1p-149f, -1.5f, HUGE_VALF, value_of(0xffc12345u)};

/// A file that goes with the test.
class File {
 public:
  File() : path_(::testing::TempDir() + "cpdcomm-npy-" + std::to_string(getpid()) + ".npy") {}
  ~File() { std::filesystem::remove(path_); }

  const std::string& path() const { return path_; }
  void write(const std::string& content) const {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << content;
  }

 private:
  std::string path_;
};

template <typename T>
std::string bytes_of(const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

/// A file as numpy.save writes it.
std::string npy(const std::string& header, const std::string& values, char version = 1) {
  std::string length;
  for (std::size_t i = 0; i < (version == 1 ? 2u : 4u); ++i) {
    length += static_cast<char>(header.size() >> (8 * i));
  }
  return std::string("\x93NUMPY") + version + '\0' + length + header + values;
}

std::string header(const std::string& type, const std::string& shape,
                   const std::string& fortran_order = "False") {
  return "{'descr': '" + type + "', 'fortran_order': " + fortran_order + ", 'shape': " + shape +
         ", }          \n";
}

NpyArray array_of(const std::string& content) {
  const File file;
  file.write(content);
  return read_npy(file.path());
}

/// Whether a file is refused with a message that names it and holds `what`.
void expect_refused(const std::string& content, const std::string& what) {
  const File file;
  file.write(content);
  const Outcome outcome = outcome_of([&] { read_npy(file.path()); });
  EXPECT_TRUE(outcome.is(ErrorCode::invalid_argument)) << what;
  EXPECT_EQ(outcome.message.find(file.path()), 0u) << outcome;
  EXPECT_NE(outcome.message.find(what), std::string::npos) << outcome << " without: " << what;
}

TEST(Npy, OfTwoDimensionsIsRead) {
  const Values values{1, 2, 3, 4, 5, 6};
  for (const char version : {'\1', '\2', '\3'}) {
    const NpyArray array = array_of(npy(header("<f4", "(2, 3)"), bytes_of(values), version));
    EXPECT_EQ(array.rows, 2u);
    EXPECT_EQ(array.columns, 3u);
    EXPECT_TRUE(same_bits(array.values, values));
  }
}

TEST(Npy, OfOneDimensionIsARow) {
  const NpyArray array = array_of(npy(header("<f4", "(6,)"), bytes_of(kAwkward)));
  EXPECT_EQ(array.rows, 1u);
  EXPECT_EQ(array.columns, 6u);
  EXPECT_TRUE(same_bits(array.values, kAwkward));
}

TEST(Npy, HeaderMayBeWrittenOtherwise) {
  const std::string text = R"({"shape":(1,2),"fortran_order":False,"descr":"<f4"})";
  EXPECT_TRUE(same_bits(array_of(npy(text, bytes_of(Values{1, 2}))).values, Values{1, 2}));
}

TEST(Npy, OfHalvesIsRead) {
  const std::vector<std::uint16_t> halves{0x3c00, 0x8000, 0x0001, 0x7bff, 0xfc00, 0x7e00};
  const NpyArray array = array_of(npy(header("<f2", "(3, 2)"), bytes_of(halves)));
  EXPECT_TRUE(same_bits(
      array.values, Values{1.0f, -0.0f, 0x1p-24f, 65504.0f, -HUGE_VALF, value_of(0x7fc00000u)}));
}

TEST(Npy, OfDoublesIsRoundedOnce) {
  const std::vector<double> doubles{1.0 + 0x1p-24, 1.0 + 0x1.8p-24, 0x1p-150, -HUGE_VAL};
  const NpyArray array = array_of(npy(header("<f8", "(4,)"), bytes_of(doubles)));
  EXPECT_TRUE(same_bits(array.values, Values{1.0f, 1.0f + 0x1p-23f, 0.0f, -HUGE_VALF}));
  const std::vector<double> nan{std::numeric_limits<double>::quiet_NaN()};
  EXPECT_TRUE(std::isnan(array_of(npy(header("<f8", "(1,)"), bytes_of(nan))).values[0]));
}

TEST(Npy, LongerThanAPieceIsRead) {
  std::vector<double> doubles(100'003);
  Values wanted(doubles.size());
  Random random(1);
  for (std::size_t i = 0; i < doubles.size(); ++i) {
    wanted[i] = static_cast<float>(random() >> 8);
    doubles[i] = wanted[i];
  }
  EXPECT_TRUE(
      same_bits(array_of(npy(header("<f8", "(1, 100003)"), bytes_of(doubles))).values, wanted));
  EXPECT_TRUE(
      same_bits(array_of(npy(header("<f4", "(100003, 1)"), bytes_of(wanted))).values, wanted));
}

TEST(Npy, OfAnotherKindIsRefused) {
  const std::string values = bytes_of(Values{1, 2, 3, 4});
  expect_refused("", "not a .npy file");
  expect_refused("PK\x03\x04 an .npz, perhaps", "not a .npy file");
  expect_refused(npy(header("<f4", "(4,)"), values, 4), "version 4.0");
  expect_refused(npy(header(">f4", "(4,)"), values), "'>f4'; allowed are '<f2', '<f4' and '<f8'");
  expect_refused(npy(header("<i4", "(4,)"), values), "'<i4'");
  expect_refused(npy(header("<f4", "(2, 2)", "True"), values), "Fortran order");
  expect_refused(npy(header("<f4", "()"), values), "shape is ()");
  expect_refused(npy(header("<f4", "(1, 2, 2)"), values), "shape is (1, 2, 2)");
  expect_refused(npy(header("<f4", "(0,)"), ""), "at least one value");
  expect_refused(npy(header("<f4", "(3, 0)"), ""), "at least one value");
}

TEST(Npy, OfAnotherSizeIsRefusedBeforeMemoryIsTaken) {
  const std::string values = bytes_of(Values{1, 2, 3, 4});
  expect_refused(npy(header("<f4", "(5,)"), values), "16 bytes of values follow");
  expect_refused(npy(header("<f4", "(3,)"), values), "takes 12");
  expect_refused(npy(header("<f8", "(4,)"), values), "16 bytes of values follow");
  expect_refused(npy(header("<f4", "(4611686018427387904, 4)"), values), "takes more");
  expect_refused(npy(header("<f4", "(4294967296, 4294967297)"), values), "takes more");
  expect_refused(npy(header("<f4", "(99999999999999999999999,)"), values), "the header is");
  expect_refused(std::string("\x93NUMPY\x02\0\xff\xff\xff\xff", 12), "a header of 4294967295");
  expect_refused(npy(header("<f4", "(4,)"), "").substr(0, 20), "ends within the header");
}

TEST(Npy, WithAnotherHeaderIsRefused) {
  for (const std::string text :
       {"", "{}", "[]", "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} more",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}",
        "{'descr': '<f4, 'fortran_order': False, 'shape': (1,)}"}) {
    expect_refused(npy(text, bytes_of(Values{1})), "the header is");
  }
}

TEST(Npy, DoublesBeyondFloatsAreRefused) {
  expect_refused(npy(header("<f8", "(1,)"), bytes_of(std::vector<double>{1e300})),
                 "1e+300 does not fit");
}

TEST(Npy, ThatIsNotThereIsRefused) {
  const Outcome outcome = outcome_of([] { read_npy("/nowhere/at/all.npy"); });
  EXPECT_TRUE(outcome.is(ErrorCode::invalid_argument)) << outcome;
  EXPECT_NE(outcome.message.find("/nowhere/at/all.npy"), std::string::npos);
  EXPECT_TRUE(outcome_of([] { read_npy("/"); }).is(ErrorCode::invalid_argument));
}

TEST(Npy, CutShortIsRefusedAtAnyByte) {
  const std::string whole = npy(header("<f4", "(2, 3)"), bytes_of(kAwkward));
  for (std::size_t size = 0; size < whole.size(); ++size) expect_refused(whole.substr(0, size), "");
}

TEST(Npy, WithFlippedBitsIsReadOrRefused) {
  const std::string whole = npy(header("<f4", "(2, 3)"), bytes_of(kAwkward));
  const File file;
  Random random(3);
  int read = 0;
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string content = whole;
    for (std::uint32_t flips = 1 + random.below(3); flips > 0; --flips) {
      char& byte = content[random.below(static_cast<std::uint32_t>(content.size()))];
      byte = static_cast<char>(byte ^ (1 << random.below(8)));
    }
    file.write(content);
    const Outcome outcome = outcome_of([&] {
      const NpyArray array = read_npy(file.path());
      EXPECT_EQ(array.values.size(), array.rows * array.columns);
    });
    ++(outcome.code ? refused : read);
    EXPECT_TRUE(!outcome.code || outcome.is(ErrorCode::invalid_argument)) << outcome;
  }
  EXPECT_GT(read, 100);
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace cpdcomm::perf
