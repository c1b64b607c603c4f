#include "allreduce/writers.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <stdexcept>

namespace cpdcomm::perf {

std::unique_ptr<Writer> make_writer(Options::Output output) {
  switch (output) {
    case Options::Output::csv:
      return make_csv();
    case Options::Output::json:
      return make_json();
    case Options::Output::osu:
      return make_osu();
    case Options::Output::table:
      break;
  }
  return make_table();
}

void flush() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return;
  throw std::runtime_error(fmt::format("cannot write to stdout: {}", std::strerror(errno)));
}

std::uint64_t count_wrong(const std::vector<Result>& results) {
  return std::accumulate(results.begin(), results.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const Result& result) {
                           return sum + (result.verdict ? result.verdict->wrong : 0);
                         });
}

}  // namespace cpdcomm::perf
