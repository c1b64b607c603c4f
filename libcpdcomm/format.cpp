#include "cpdcomm/format.hpp"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "cpdcomm/error.hpp"

namespace cpdcomm {
namespace {

constexpr std::string_view kKnown =
    "known are fp32, bf16, fp16 and eXmY with 1 <= X <= 8 and 0 <= Y <= 23, such as e4m3 or e5m2";

struct Alias {
  std::string_view name;
  int exp_bits;
  int man_bits;
};
constexpr Alias kAliases[] = {{"fp32", 8, 23}, {"bf16", 8, 7}, {"fp16", 5, 10}};

/// Takes a decimal number without sign or leading zero off the front of `text`.
std::optional<int> take_number(std::string_view& text) {
  if (text.size() > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9') return std::nullopt;
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || text[0] == '-') return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

bool take(std::string_view& text, char letter) {
  if (text.empty() || text[0] != letter) return false;
  text.remove_prefix(1);
  return true;
}

bool in_range(int exp_bits, int man_bits) {
  return 1 <= exp_bits && exp_bits <= 8 && 0 <= man_bits && man_bits <= 23;
}

}  // namespace

Format Format::floating(int exp_bits, int man_bits) {
  if (!in_range(exp_bits, man_bits)) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("no float format of {} exponent and {} mantissa bits: exponent bits "
                            "are 1 to 8, mantissa bits 0 to 23",
                            exp_bits, man_bits));
  }
  return Format(exp_bits, man_bits);
}

Format Format::parse(std::string_view text) {
  for (const Alias& alias : kAliases) {
    if (text == alias.name) return Format(alias.exp_bits, alias.man_bits);
  }
  std::string_view rest = text;
  if (take(rest, 'e')) {
    const auto exp_bits = take_number(rest);
    if (exp_bits && take(rest, 'm')) {
      const auto man_bits = take_number(rest);
      if (man_bits && rest.empty() && in_range(*exp_bits, *man_bits)) {
        return Format(*exp_bits, *man_bits);
      }
    }
  }
  throw Error(ErrorCode::invalid_argument, fmt::format("unknown format '{}': {}", text, kKnown));
}

std::string Format::to_string() const {
  for (const Alias& alias : kAliases) {
    if (*this == Format(alias.exp_bits, alias.man_bits)) return std::string(alias.name);
  }
  return fmt::format("e{}m{}", exp_bits(), man_bits());
}

}  // namespace cpdcomm
