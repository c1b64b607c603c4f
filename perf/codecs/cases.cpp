#include "codecs/cases.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

namespace cpdcomm::perf {
namespace {

/// As people say it: 16Ki, 16Mi.
std::string in_words(std::size_t values) {
  if (values % (1 << 20) == 0) return std::to_string(values >> 20) + "Mi";
  if (values % (1 << 10) == 0) return std::to_string(values >> 10) + "Ki";
  return std::to_string(values);
}

/// Collects cases; one that was asked for twice, maybe under two names of its format, counts once.
class Cases {
 public:
  explicit Cases(const Options& options) : options_(options) {}

  void add(const Kernel& kernel, Format format) {
    if (std::ranges::find(options_.kernels, kernel.name) == options_.kernels.end()) return;
    for (const std::size_t values : options_.values) {
      const Case one{kernel, format, values};
      if (names_.insert(one.name()).second) all_.push_back(one);
    }
  }
  std::vector<Case> take() { return std::move(all_); }

 private:
  const Options& options_;
  std::set<std::string> names_;
  std::vector<Case> all_;
};

}  // namespace

std::string Case::name() const {
  return fmt::format("{}/{}/{}", kernel.name, format.to_string(), in_words(values));
}

std::vector<Case> cases_of(const Options& options) {
  Cases cases(options);
  for (const Kernel& kernel : memory_kernels()) cases.add(kernel, Format());
  for (const std::string& name : options.formats) {
    for (const Kernel& kernel : codec_kernels()) cases.add(kernel, Format::parse(name));
  }
  return cases.take();
}

}  // namespace cpdcomm::perf
