#include "allreduce/writers.hpp"

#include <numeric>

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

std::uint64_t count_wrong(const std::vector<Result>& results) {
  return std::accumulate(results.begin(), results.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const Result& result) {
                           return sum + (result.verdict ? result.verdict->wrong : 0);
                         });
}

}  // namespace cpdcomm::perf
