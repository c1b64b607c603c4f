#include "codec/targets.hpp"

#include "codec/simd/targets.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <hwy/highway.h>

#include "cpdcomm/error.hpp"

namespace cpdcomm::codec {
namespace {

std::string name_of(std::int64_t target) {
  switch (target) {
    case HWY_AVX3_DL:
      return "avx512vbmi";
    case HWY_AVX3:
      return "avx512";
    case HWY_AVX2:
      return "avx2";
    case HWY_SSE4:
      return "sse4";
    case HWY_SCALAR:
    case HWY_EMU128:
      return "plain";
    default:
      return hwy::TargetName(target);
  }
}

/// What this machine has, whatever has been chosen before.
std::vector<std::int64_t> supported() {
  static const std::vector<std::int64_t> all = hwy::SupportedAndGeneratedTargets();
  return all;
}

}  // namespace

std::vector<std::string> targets() {
  std::vector<std::string> names;
  for (const std::int64_t target : supported()) names.push_back(name_of(target));
  return names;
}

void use_target(std::string_view name) {
  for (const std::int64_t target : supported()) {
    if (name_of(target) != name) continue;
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    return;
  }
  throw Error(ErrorCode::invalid_argument, fmt::format("unknown target '{}': this machine has {}",
                                                       name, fmt::join(targets(), ", ")));
}

}  // namespace cpdcomm::codec
