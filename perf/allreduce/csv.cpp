// Comma-separated values under the names that the JSON has; what is not known is empty.
#include <fmt/format.h>

#include <cstdio>

#include "allreduce/head.hpp"
#include "allreduce/writers.hpp"

namespace cpdcomm::perf {
namespace {

template <typename T>
std::string or_empty(const std::optional<T>& value) {
  return value ? fmt::format("{}", *value) : "";
}

std::string row(const Result& r) {
  const AllreduceOptions& o = r.contender.options;
  const bool ours = !r.contender.is_mpi;
  std::string line = fmt::format("{},{},{},{},{},{},{},", r.size, r.count,
                                 type_name(r.contender.type), to_string(o.op), r.contender.wire(),
                                 r.contender.algorithm(), r.taken ? to_string(*r.taken) : "");
  line += ours ? fmt::format("{},{},{},", to_string(o.accumulate), to_string(r.contender.scaling()),
                             to_string(o.rounding))
               : ",,,";
  line += fmt::format("{},{},{},{},{},{},{},{},", r.in_place, r.ranks, r.times.size(), r.median(),
                      r.smallest(), r.p99(), r.algbw(), r.busbw());
  line += r.wire ? fmt::format("{},{},{},", r.wire->mean, r.wire->largest, *r.wirebw()) : ",,,";
  line += or_empty(r.gain) + ",";
  line += r.verdict ? fmt::format("{},{},{},{},", or_empty(r.verdict->rel_rms),
                                  or_empty(r.verdict->max_error), to_string(r.verdict->against),
                                  r.verdict->wrong)
                    : ",,,,";
  const bool hosts = ours && r.contender.knows_hosts();
  line += hosts ? fmt::format("{},{},", to_string(o.across), to_string(o.inner)) : ",,";
  line += ours && o.accumulate == Accumulate::exact ? to_string(o.result) : "";
  return line + fmt::format(",{},{},{}", or_empty(r.compressed), or_empty(r.median_codec()),
                            or_empty(r.median_wait()));
}

class Csv final : public Writer {
 public:
  void begin(const Run& run) override {
    fmt::print("{}", head_of(run));
    fmt::print(
        "size,count,type,redop,wire,algorithm,algorithm_taken,accumulate,scaling,rounding,"
        "in_place,ranks,iterations,time_us,time_us_min,time_us_p99,algbw,busbw,wire_bytes,"
        "wire_bytes_max,wirebw,gain,rel_rms,max_error,checked_against,wrong,"
        "across,inner,result,compressed,codec_us,wait_us\n");
    flush();
  }
  void size_done(const std::vector<Result>& results) override {
    for (const Result& result : results) fmt::print("{}\n", row(result));
    flush();
  }
};

}  // namespace

std::unique_ptr<Writer> make_csv() { return std::make_unique<Csv>(); }

}  // namespace cpdcomm::perf
