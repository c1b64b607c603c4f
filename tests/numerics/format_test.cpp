#include "cpdcomm/format.hpp"

#include <gtest/gtest.h>

#include "cpdcomm/error.hpp"
#include "support/formats.hpp"

namespace cpdcomm::testing {
namespace {

/// The message of the error that reading `text` gives.
std::string complaint(const std::string& text) {
  try {
    Format::parse(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    return error.what();
  }
  ADD_FAILURE() << "'" << text << "' was taken for a format";
  return {};
}

TEST(Format, ReadsWhatItPrints) {
  for (const Format format : all_formats()) {
    EXPECT_EQ(Format::parse(format.to_string()), format) << format.to_string();
    const std::string plain =
        "e" + std::to_string(format.exp_bits()) + "m" + std::to_string(format.man_bits());
    EXPECT_EQ(Format::parse(plain), format) << plain;
  }
}

TEST(Format, HasAliases) {
  EXPECT_EQ(Format::parse("fp32"), Format());
  EXPECT_EQ(Format::parse("fp32"), Format::floating(8, 23));
  EXPECT_EQ(Format::parse("bf16"), Format::floating(8, 7));
  EXPECT_EQ(Format::parse("fp16"), Format::floating(5, 10));
  EXPECT_EQ(Format::floating(8, 7).to_string(), "bf16");
  EXPECT_EQ(Format::floating(4, 3).to_string(), "e4m3");
}

TEST(Format, KnowsItsRange) {
  const Format e4m3 = Format::floating(4, 3);
  EXPECT_EQ(e4m3.code_bits(), 8);
  EXPECT_TRUE(Format().is_fp32());
  EXPECT_FALSE(e4m3.is_fp32());
}

TEST(Format, NamesTheTextThatItCannotRead) {
  for (const char* text : {"",
                           " ",
                           "e",
                           "m",
                           "e4",
                           "em",
                           "e4m",
                           "m3",
                           "e0m3",
                           "e9m3",
                           "e4m24",
                           "e4m-1",
                           "e-4m3",
                           "e+4m3",
                           "e4m+3",
                           "e04m3",
                           "e4m03",
                           "e4m00",
                           "E4M3",
                           "e4m3 ",
                           " e4m3",
                           "e4 m3",
                           "e4m3fn2",
                           "e4m3x",
                           "e4.0m3",
                           "e4m3.0",
                           "fp8",
                           "fp64",
                           "FP32",
                           "float32",
                           "bf8",
                           "e99999999999m3",
                           "e4m99999999999",
                           "e4m3\n",
                           "4,3",
                           "e2147483649m3",
                           "e4294967300m3"}) {
    const std::string message = complaint(text);
    EXPECT_NE(message.find(text), std::string::npos) << message;
    EXPECT_NE(message.find("known are"), std::string::npos) << message;
  }
  EXPECT_NE(complaint(std::string("e4m3\0", 5)).find("unknown"), std::string::npos);
}

TEST(FormatInfo, IsFiniteWhereAFormatHoldsNothingButZero) {
  const FormatInfo e1m0 = info(Format::floating(1, 0));
  EXPECT_EQ(e1m0.largest, 0.0);
  EXPECT_EQ(e1m0.smallest, 0.0);
  EXPECT_EQ(e1m0.smallest_normal, 0.0);
}

TEST(Format, RefusesWidthsThatDoNotExist) {
  for (const auto& [exp_bits, man_bits] :
       {std::pair{0, 3}, {9, 3}, {4, -1}, {4, 24}, {-1, -1}, {256 + 4, 3}, {4, 256 + 3}}) {
    try {
      Format::floating(exp_bits, man_bits);
      FAIL() << exp_bits << ", " << man_bits;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      EXPECT_NE(std::string(error.what()).find(std::to_string(man_bits)), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace cpdcomm::testing
