#include "allreduce/contender.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "collective/request.hpp"
#include "cpdcomm/error.hpp"

namespace cpdcomm::perf {
namespace {

/// Why the library refuses a contender, asked without a value to sum; empty when it does not.
std::string refusal(const Contender& contender, Communicator& ranks) {
  if (!collective::is_small_float(contender.type) && !contender.options.wire.is_fp32()) {
    return "only float, half and bfloat16 are compressed";
  }
  try {
    ScaleMemory memory;
    const Tensor nothing{.type = contender.type, .memory = &memory};
    ranks.allreduce({&nothing, 1}, contender.options);
    return {};
  } catch (const Error& error) {
    const bool nothing_happened =
        error.code() == ErrorCode::invalid_argument || error.code() == ErrorCode::unsupported;
    if (!nothing_happened) throw;
    return error.what();
  }
}

/// Each of them with each value of a field.
template <typename T>
void cross(std::vector<AllreduceOptions>& all, const std::vector<T>& values,
           T AllreduceOptions::*field) {
  std::vector<AllreduceOptions> crossed;
  for (AllreduceOptions one : all) {
    for (const T& value : values) {
      one.*field = value;
      crossed.push_back(one);
    }
  }
  all = std::move(crossed);
}

std::vector<AllreduceOptions> combinations(const Options& options) {
  std::vector<Format> wires;
  for (const std::string& wire : options.wires) {
    if (wire != "none") wires.push_back(Format::parse(wire));
  }
  std::vector<AllreduceOptions> all{{.op = options.op, .seed = options.seed}};
  cross(all, wires, &AllreduceOptions::wire);
  cross(all, options.algorithms, &AllreduceOptions::algorithm);
  cross(all, options.across, &AllreduceOptions::across);
  cross(all, options.inners, &AllreduceOptions::inner);
  cross(all, options.accumulates, &AllreduceOptions::accumulate);
  cross(all, options.results, &AllreduceOptions::result);
  cross(all, options.scalings, &AllreduceOptions::scaling);
  cross(all, options.roundings, &AllreduceOptions::rounding);
  return all;
}

/// What plays no part is as it usually is, so that contenders that do the same are the same.
Contender without_idle(Contender contender) {
  const AllreduceOptions usual;
  if (!contender.knows_hosts()) {
    contender.options.across = usual.across;
    contender.options.inner = usual.inner;
  }
  if (contender.options.accumulate != Accumulate::exact) contender.options.result = usual.result;
  return contender;
}

class Collection {
 public:
  explicit Collection(Communicator& ranks) : ranks_(ranks) {}

  void add(const Contender& contender) {
    if (std::ranges::find(found_.all, contender) != found_.all.end()) return;
    const std::string reason =
        contender.is_mpi ? mpi_refusal(contender) : refusal(contender, ranks_);
    if (reason.empty()) {
      found_.all.push_back(contender);
    } else {
      found_.left_out.push_back({contender.name(), reason});
    }
  }
  Contenders take() { return std::move(found_); }

 private:
  static std::string mpi_refusal(const Contender& contender) {
    if (contender.type == DataType::fp32 || contender.type == DataType::fp64) return {};
    return "MPI has no such type";
  }

  Communicator& ranks_;
  Contenders found_;
};

}  // namespace

std::string Contender::algorithm() const { return is_mpi ? "mpi" : to_string(options.algorithm); }

std::string Contender::wire() const {
  if (is_mpi || !collective::is_small_float(type)) return to_string(type);
  return options.wire.to_string();
}

Scaling Contender::scaling() const {
  if (options.accumulate == Accumulate::exact) return {Scaling::Kind::aps};
  if (options.accumulate == Accumulate::majority) return {Scaling::Kind::none};
  if (options.scaling.kind != Scaling::Kind::automatic && !options.wire.is_fp32()) {
    return options.scaling;
  }
  const bool scaled = options.wire.is_float() && !options.wire.is_fp32();
  return {scaled ? Scaling::Kind::aps : Scaling::Kind::none};
}

bool Contender::knows_hosts() const { return options.algorithm == Algorithm::hierarchical; }

bool Contender::loses_nothing() const { return is_mpi || options.wire.is_fp32(); }

std::string Contender::name() const {
  if (is_mpi) return "mpi " + wire();
  std::string name =
      fmt::format("{} {} {} {} {}", wire(), algorithm(), to_string(options.accumulate),
                  to_string(scaling()), to_string(options.rounding));
  const AllreduceOptions usual;
  if (options.across != usual.across) name += " across " + to_string(options.across);
  if (options.inner != usual.inner) name += " inner " + to_string(options.inner);
  if (options.result != usual.result) name += " result " + to_string(options.result);
  return name;
}

Contenders contenders_of(const Options& options, Communicator& ranks) {
  Collection collection(ranks);
  for (const std::string& baseline : options.baselines) {
    Contender contender{.is_mpi = baseline == "mpi", .type = options.type};
    contender.options.op = options.op;
    contender.options.algorithm = baseline == "direct" ? Algorithm::direct : Algorithm::ring;
    if (baseline != "none") collection.add(contender);
  }
  for (const AllreduceOptions& asked : combinations(options)) {
    collection.add(without_idle({.options = asked, .type = options.type}));
  }
  return collection.take();
}

}  // namespace cpdcomm::perf
