// Predicts all-reduces on networks that need not be at hand.
#include <fmt/format.h>

#include <cstdio>

#include "common/exit_codes.hpp"
#include "common/guarded.hpp"
#include "common/output_file.hpp"
#include "simulation/output.hpp"

namespace cpdcomm::perf {
namespace {

int run(int argc, char** argv) {
  Options options;
  if (const auto code = parse(argc, argv, options)) return *code;
  const std::vector<Row> rows = predict_all(options);
  const std::string json = to_json(options, {argv, argv + argc}, rows);
  if (options.format == "table") fmt::print("{}", to_table(options, rows));
  if (options.format == "csv") fmt::print("{}", to_csv(rows));
  if (options.format == "json") fmt::print("{}", json);
  if (options.output_file.empty()) return kDone;
  const OutputFile file(options.output_file);
  std::FILE* notes = options.format == "table" ? stdout : stderr;
  fmt::print(notes, "# Writing JSON output to {}\n", file.name());
  file.write(json);
  return kDone;
}

}  // namespace
}  // namespace cpdcomm::perf

int main(int argc, char** argv) {
  return cpdcomm::perf::guarded("cpd-simulate", [&] { return cpdcomm::perf::run(argc, argv); });
}
