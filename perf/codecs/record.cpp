#include "codecs/record.hpp"

#include <benchmark/benchmark.h>

#include <nlohmann/json.hpp>

#include "common/machine.hpp"
#include "common/text.hpp"
#include "cpdcomm/version.hpp"

namespace cpdcomm::perf {
namespace {

using Json = nlohmann::ordered_json;

Json caches(const benchmark::CPUInfo& cpu) {
  Json all = Json::array();
  for (const auto& cache : cpu.caches) {
    all.push_back({{"type", cache.type},
                   {"level", cache.level},
                   {"size", cache.size},
                   {"num_sharing", cache.num_sharing}});
  }
  return all;
}

Json frequency_scaling(const benchmark::CPUInfo& cpu) {
  if (cpu.scaling == benchmark::CPUInfo::UNKNOWN) return nullptr;
  return cpu.scaling == benchmark::CPUInfo::ENABLED;
}

Json machine(const Record& record) {
  const benchmark::CPUInfo& cpu = benchmark::CPUInfo::Get();
  return {{"cpu_model", cpu_model()},
          {"instruction_sets", instruction_sets()},
          {"cores", record.cores},
          {"simd_target", record.options.target},
          {"mhz", cpu.cycles_per_second / 1e6},
          {"frequency_scaling", frequency_scaling(cpu)},
          {"caches", caches(cpu)},
          {"load_average", cpu.load_avg}};
}

Json to_json(const Options& options) {
  return {{"formats", options.formats},   {"kernels", options.kernels},
          {"values", options.values},     {"threads", options.threads},
          {"target", options.target},     {"repetitions", options.repetitions},
          {"min_time", options.min_time}, {"benchmark", options.benchmark}};
}

Json to_json(const Result& result) {
  return {{"kernel", result.kernel},
          {"format", result.format},
          {"values", result.values},
          {"threads", result.threads},
          {"repetitions", result.times_us.size()},
          {"time_us", result.time_us()},
          {"time_us_min", result.times_us.front()},
          {"time_us_max", result.times_us.back()},
          {"bytes_per_second", result.bytes_per_second()},
          {"of_memcpy", result.of_memcpy ? Json(*result.of_memcpy) : Json()}};
}

}  // namespace

Record record_now(int argc, char** argv, const Options& options, int cores) {
  return {date_now(), std::vector<std::string>(argv, argv + argc), options, cores};
}

std::string to_json(const Record& record, const std::vector<Result>& results) {
  Json rows = Json::array();
  for (const Result& result : results) rows.push_back(to_json(result));
  const Json all{{"schema", "cpd-codec-perf/1"},
                 {"program", "cpd-codec-perf"},
                 {"version", version()},
                 {"date", record.date},
                 {"command", record.command},
                 {"machine", machine(record)},
                 {"options", to_json(record.options)},
                 {"results", rows}};
  // What is not UTF-8 in the command is no reason to lose the results.
  return all.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace cpdcomm::perf
