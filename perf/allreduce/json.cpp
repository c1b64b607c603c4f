// The JSON of perf/schema/allreduce.schema.json.
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "allreduce/writers.hpp"
#include "codec/targets.hpp"
#include "common/machine.hpp"
#include "common/output_file.hpp"
#include "cpdcomm/version.hpp"

namespace cpdcomm::perf {
namespace {

using Json = nlohmann::ordered_json;

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json json_of(const Result& r) {
  const AllreduceOptions& o = r.contender.options;
  const bool ours = !r.contender.is_mpi;
  const auto of_ours = [&](const std::string& name) { return ours ? Json(name) : Json(nullptr); };
  Json json{{"size", r.size},
            {"count", r.count},
            {"type", type_name(r.contender.type)},
            {"redop", to_string(o.op)},
            {"wire", r.contender.wire()},
            {"algorithm", r.contender.algorithm()},
            {"algorithm_taken", r.taken ? Json(to_string(*r.taken)) : Json(nullptr)},
            {"accumulate", of_ours(to_string(o.accumulate))},
            {"scaling", of_ours(to_string(r.contender.scaling()))},
            {"rounding", of_ours(to_string(o.rounding))},
            {"in_place", r.in_place},
            {"ranks", r.ranks},
            {"iterations", r.times.size()},
            {"time_us", r.median()},
            {"time_us_min", r.smallest()},
            {"time_us_p99", r.p99()},
            {"times_us", r.times},
            {"algbw", r.algbw()},
            {"busbw", r.busbw()},
            {"wire_bytes", r.wire ? Json(r.wire->mean) : Json(nullptr)},
            {"wire_bytes_max", r.wire ? Json(r.wire->largest) : Json(nullptr)},
            {"wirebw", or_null(r.wirebw())},
            {"gain", or_null(r.gain)}};
  const std::optional<Verdict>& verdict = r.verdict;
  json["rel_rms"] = verdict ? or_null(verdict->rel_rms) : Json(nullptr);
  json["max_error"] = verdict ? or_null(verdict->max_error) : Json(nullptr);
  json["checked_against"] = verdict ? Json(to_string(verdict->against)) : Json(nullptr);
  json["wrong"] = verdict ? Json(verdict->wrong) : Json(nullptr);
  const bool hosts = ours && r.contender.knows_hosts();
  json["across"] = hosts ? Json(to_string(o.across)) : Json(nullptr);
  json["inner"] = hosts ? Json(to_string(o.inner)) : Json(nullptr);
  const bool exact = ours && o.accumulate == Accumulate::exact;
  json["result"] = exact ? Json(to_string(o.result)) : Json(nullptr);
  json["compressed"] = or_null(r.compressed);
  json["codec_us"] = or_null(r.median_codec());
  json["wait_us"] = or_null(r.median_wait());
  return json;
}

std::string text_of(const Run& run, const std::vector<Result>& results) {
  Json hosts = Json::array();
  for (const Place& place : run.places) hosts.push_back(place.host);
  Json options = Json::object();
  for (const auto& [name, value] : run.options.named()) options[name] = value;
  Json left_out = Json::array();
  for (const LeftOut& one : run.left_out) {
    left_out.push_back({{"contender", one.contender}, {"reason", one.reason}});
  }
  Json json{{"schema", "cpd-allreduce-perf/1"},
            {"program", "cpd-allreduce-perf"},
            {"version", version()},
            {"date", run.date},
            {"command", run.command},
            {"machine",
             {{"cpu_model", cpu_model()},
              {"instruction_sets", instruction_sets()},
              {"cores", usable_cores().size()},
              {"simd_target", codec::targets().front()},
              {"ranks", run.places.size()},
              {"hosts", hosts}}},
            {"mpi", run.mpi},
            {"transport", to_string(run.options.transport)},
            {"input", run.input},
            {"options", options},
            {"left_out", left_out},
            {"results", Json::array()}};
  for (const Result& result : results) json["results"].push_back(json_of(result));
  // What is not UTF-8 in the command is no reason to lose the results.
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

class JsonOnStdout final : public Writer {
 public:
  void end(const Run& run, const std::vector<Result>& all) override {
    fmt::print("{}", text_of(run, all));
    flush();
  }
};

class JsonFile final : public Writer {
 public:
  explicit JsonFile(const std::string& path) : file_(path) {}

  void begin(const Run& run) override {
    run_ = &run;
    if (run.options.output != Options::Output::json) {
      fmt::print("# Writing JSON output to {}\n", file_.name());
    }
    write();
  }
  void size_done(const std::vector<Result>& results) override {
    so_far_.insert(so_far_.end(), results.begin(), results.end());
    write();
  }

 private:
  void write() const { file_.write(text_of(*run_, so_far_)); }

  OutputFile file_;
  const Run* run_ = nullptr;
  std::vector<Result> so_far_;
};

}  // namespace

std::unique_ptr<Writer> make_json() { return std::make_unique<JsonOnStdout>(); }
std::unique_ptr<Writer> make_json_file(const std::string& path) {
  return std::make_unique<JsonFile>(path);
}

}  // namespace cpdcomm::perf
