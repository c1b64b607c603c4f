#include "cpdcomm/format.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <optional>

#include "cpdcomm/error.hpp"
#include "numerics/cast.hpp"

namespace cpdcomm {
namespace {

constexpr std::string_view kKnown =
    "known are fp32, bf16, fp16, eXmY with 1 <= X <= 8 and 0 <= Y <= 23 (such as e4m3), e4m3fn, "
    "e3m2fn, e2m3fn, e2m1fn, bfpK and intK with 2 <= K <= 24, mxfp8e4m3, mxfp8e5m2, mxfp6e3m2, "
    "mxfp6e2m3, mxfp4, mxint8 and sign; bfpK:B, intK:B and sign:B take a block of B values, a "
    "multiple of 8 from 8 to 65536";

constexpr std::size_t kMicroscalingBlock = 32;

/// Formats with blocks of any size: the letters before K and B, and B where it is left out.
struct Family {
  std::string_view name;
  Format::Kind kind;
  std::size_t block;
};
constexpr Family kFamilies[] = {{"bfp", Format::Kind::bfp, 64},
                                {"int", Format::Kind::integer, 512},
                                {"sign", Format::Kind::sign, 512}};

const Family& family_of(Format::Kind kind) {
  for (const Family& family : kFamilies) {
    if (family.kind == kind) return family;
  }
  throw Error(ErrorCode::invalid_argument, "a format of an unknown kind");
}

/// Takes a decimal number without sign or leading zero off the front of `text`.
std::optional<int> take_number(std::string_view& text) {
  if (text.size() > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9') return std::nullopt;
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || text[0] == '-') return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

bool take(std::string_view& text, std::string_view word) {
  if (!text.starts_with(word)) return false;
  text.remove_prefix(word.size());
  return true;
}

bool in_range(int exp_bits, int man_bits) {
  return 1 <= exp_bits && exp_bits <= 8 && 0 <= man_bits && man_bits <= 23;
}

bool is_width(int bits) { return 2 <= bits && bits <= 24; }
bool is_block(int block) { return 8 <= block && block <= 65536 && block % 8 == 0; }

struct Widths {
  int exp_bits;
  int man_bits;
};

std::optional<Widths> parse_float(std::string_view text) {
  if (!take(text, "e")) return std::nullopt;
  const auto exp_bits = take_number(text);
  if (!exp_bits || !take(text, "m")) return std::nullopt;
  const auto man_bits = take_number(text);
  if (!man_bits || !text.empty() || !in_range(*exp_bits, *man_bits)) return std::nullopt;
  return Widths{*exp_bits, *man_bits};
}

struct Blocks {
  Format::Kind kind;
  int bits;
  std::size_t block;
};

std::optional<Blocks> parse_blocks(std::string_view text) {
  for (const Family& family : kFamilies) {
    std::string_view rest = text;
    if (!take(rest, family.name)) continue;
    Blocks blocks{family.kind, 1, family.block};
    if (family.kind != Format::Kind::sign) {
      const auto bits = take_number(rest);
      if (!bits || !is_width(*bits)) return std::nullopt;
      blocks.bits = *bits;
    }
    if (take(rest, ":")) {
      const auto block = take_number(rest);
      if (!block || !is_block(*block)) return std::nullopt;
      blocks.block = static_cast<std::size_t>(*block);
    }
    if (rest.empty()) return blocks;
  }
  return std::nullopt;
}

}  // namespace

/// The formats that have a name of their own.
struct Format::Named {
  std::string_view name;
  Format format;
};

constexpr Format::Named Format::kNamed[] = {
    {"fp32", Format(Kind::floating, 8, 23)},
    {"bf16", Format(Kind::floating, 8, 7)},
    {"fp16", Format(Kind::floating, 5, 10)},
    {"e4m3fn", Format(Kind::finite, 4, 3)},
    {"e3m2fn", Format(Kind::finite, 3, 2)},
    {"e2m3fn", Format(Kind::finite, 2, 3)},
    {"e2m1fn", Format(Kind::finite, 2, 1)},
    {"mxfp8e4m3", Format(Kind::mx, 4, 3, kMicroscalingBlock)},
    {"mxfp8e5m2", Format(Kind::mx, 5, 2, kMicroscalingBlock)},
    {"mxfp6e3m2", Format(Kind::mx, 3, 2, kMicroscalingBlock)},
    {"mxfp6e2m3", Format(Kind::mx, 2, 3, kMicroscalingBlock)},
    {"mxfp4", Format(Kind::mx, 2, 1, kMicroscalingBlock)},
    {"mxint8", Format(Kind::mx, 0, 7, kMicroscalingBlock)},
};

Format Format::floating(int exp_bits, int man_bits) {
  if (!in_range(exp_bits, man_bits)) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("no float format of {} exponent and {} mantissa bits: exponent bits "
                            "are 1 to 8, mantissa bits 0 to 23",
                            exp_bits, man_bits));
  }
  return Format(Kind::floating, exp_bits, man_bits);
}

Format Format::parse(std::string_view text) {
  for (const Named& named : kNamed) {
    if (text == named.name) return named.format;
  }
  if (const auto widths = parse_float(text)) {
    return Format(Kind::floating, widths->exp_bits, widths->man_bits);
  }
  if (const auto blocks = parse_blocks(text)) {
    return Format(blocks->kind, 0, blocks->bits - 1, blocks->block);
  }
  throw Error(ErrorCode::invalid_argument, fmt::format("unknown format '{}': {}", text, kKnown));
}

std::string Format::to_string() const {
  for (const Named& named : kNamed) {
    if (*this == named.format) return std::string(named.name);
  }
  if (kind_ == Kind::floating) return fmt::format("e{}m{}", exp_bits(), man_bits());
  const Family& family = family_of(kind_);
  std::string name(family.name);
  if (kind_ != Kind::sign) name += std::to_string(code_bits());
  if (block_ != family.block) name += fmt::format(":{}", block_);
  return name;
}

}  // namespace cpdcomm
