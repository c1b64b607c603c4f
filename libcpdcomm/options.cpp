#include "cpdcomm/options.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <span>
#include <vector>

#include "cpdcomm/error.hpp"

namespace cpdcomm {
namespace {

template <typename T>
struct Named {
  std::string_view name;
  T value;
};

constexpr Named<ReduceOp> kReduceOps[] = {
    {"sum", ReduceOp::sum},    {"avg", ReduceOp::average},  {"product", ReduceOp::product},
    {"min", ReduceOp::min},    {"max", ReduceOp::max},      {"band", ReduceOp::bit_and},
    {"bor", ReduceOp::bit_or}, {"bxor", ReduceOp::bit_xor},
};
constexpr Named<Accumulate> kAccumulates[] = {{"wide", Accumulate::wide},
                                              {"rounded", Accumulate::rounded},
                                              {"kahan", Accumulate::kahan},
                                              {"exact", Accumulate::exact},
                                              {"majority", Accumulate::majority}};
constexpr Named<Algorithm> kAlgorithms[] = {{"automatic", Algorithm::automatic},
                                            {"direct", Algorithm::direct},
                                            {"ring", Algorithm::ring},
                                            {"tree", Algorithm::tree},
                                            {"halving_doubling", Algorithm::halving_doubling},
                                            {"hierarchical", Algorithm::hierarchical}};
constexpr Named<Result> kResults[] = {{"full", Result::full}, {"wire", Result::wire}};
constexpr Named<Rounding> kRoundings[] = {{"nearest_even", Rounding::nearest_even},
                                          {"stochastic", Rounding::stochastic}};

template <typename T>
std::string name_of(std::span<const Named<T>> all, T value) {
  for (const auto& named : all) {
    if (named.value == value) return std::string(named.name);
  }
  return "unknown";
}

template <typename T>
T value_of(std::span<const Named<T>> all, std::string_view what, std::string_view text) {
  std::vector<std::string_view> names;
  for (const auto& named : all) {
    if (named.name == text) return named.value;
    names.push_back(named.name);
  }
  throw Error(ErrorCode::invalid_argument,
              fmt::format("unknown {} '{}': known are {}", what, text, fmt::join(names, ", ")));
}

}  // namespace

std::string to_string(ReduceOp op) { return name_of<ReduceOp>(kReduceOps, op); }
std::string to_string(Accumulate accumulate) {
  return name_of<Accumulate>(kAccumulates, accumulate);
}
std::string to_string(Algorithm algorithm) {
  return algorithm == Algorithm::native ? "native" : name_of<Algorithm>(kAlgorithms, algorithm);
}
std::string to_string(Rounding rounding) { return name_of<Rounding>(kRoundings, rounding); }
std::string to_string(Result result) { return name_of<Result>(kResults, result); }

std::string to_string(Scaling scaling) {
  switch (scaling.kind) {
    case Scaling::Kind::automatic:
      return "automatic";
    case Scaling::Kind::none:
      return "none";
    case Scaling::Kind::delayed:
      return "delayed";
    case Scaling::Kind::aps:
      break;
  }
  return scaling.group == 0 ? "aps" : fmt::format("aps:{}", scaling.group);
}

ReduceOp parse_reduce_op(std::string_view text) {
  return value_of<ReduceOp>(kReduceOps, "op", text);
}
Accumulate parse_accumulate(std::string_view text) {
  return value_of<Accumulate>(kAccumulates, "accumulate", text);
}
Algorithm parse_algorithm(std::string_view text) {
  return value_of<Algorithm>(kAlgorithms, "algorithm", text);
}
Rounding parse_rounding(std::string_view text) {
  return value_of<Rounding>(kRoundings, "rounding", text);
}
Result parse_result(std::string_view text) { return value_of<Result>(kResults, "result", text); }
std::optional<Format> parse_inner(std::string_view text) {
  return text == "wire" ? std::nullopt : std::optional(Format::parse(text));
}

Scaling parse_scaling(std::string_view text) {
  if (text == "automatic") return {};
  if (text == "none") return {Scaling::Kind::none, 0};
  if (text == "aps") return {Scaling::Kind::aps, 0};
  if (text == "delayed") return {Scaling::Kind::delayed, 0};
  constexpr std::string_view prefix = "aps:";
  if (text.starts_with(prefix)) {
    const std::string_view digits = text.substr(prefix.size());
    std::size_t group = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), group);
    if (error == std::errc{} && end == digits.data() + digits.size() && group != 0 &&
        group % 8 == 0) {
      return {Scaling::Kind::aps, group};
    }
  }
  throw Error(
      ErrorCode::invalid_argument,
      fmt::format("unknown scaling '{}': known are automatic, none, aps, delayed and aps:N with "
                  "N a multiple of 8, such as aps:512",
                  text));
}

}  // namespace cpdcomm
