#include "allreduce/head.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "codec/targets.hpp"
#include "common/machine.hpp"
#include "cpdcomm/version.hpp"

namespace cpdcomm::perf {

std::string head_of(const Run& run) {
  const Options& o = run.options;
  std::string head = fmt::format("# cpd-allreduce-perf version {}  mpi={}\n", version(), run.mpi);
  head += fmt::format("# Collective test starting: {}\n", fmt::join(run.command, " "));
  const std::string step = o.step_factor > 1 ? fmt::format("{}(factor)", o.step_factor)
                                             : fmt::format("{}(bytes)", o.step_bytes);
  head += fmt::format(
      "# minBytes {} maxBytes {} step: {} warmup iters: {} iters: {} validation: {} average: {}\n",
      o.min_bytes, o.max_bytes, step, o.warmups, o.iterations, o.checks,
      static_cast<int>(o.average));
  head += fmt::format("# input: {}  {}\n", run.input, o.in_place ? "in place" : "out of place");
  head += fmt::format("# {}  codecs: {}  transport: {}\n", cpu_model(), codec::targets().front(),
                      to_string(o.transport));
  head += "#\n# Using ranks\n";
  for (std::size_t rank = 0; rank < run.places.size(); ++rank) {
    const Place& place = run.places[rank];
    head += fmt::format("#  Rank {:>2} Pid {:>6} on {:>10} core {:>2}\n", rank, place.process,
                        place.host, place.core);
  }
  head += "#\n";
  for (const LeftOut& left_out : run.left_out) {
    head += fmt::format("# left out: {}: {}\n", left_out.contender, left_out.reason);
  }
  return head;
}

}  // namespace cpdcomm::perf
