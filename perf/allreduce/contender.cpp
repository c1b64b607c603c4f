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
    const Tensor nothing{.type = contender.type};
    ranks.allreduce({&nothing, 1}, contender.options);
    return {};
  } catch (const Error& error) {
    const bool nothing_happened =
        error.code() == ErrorCode::invalid_argument || error.code() == ErrorCode::unsupported;
    if (!nothing_happened) throw;
    return error.what();
  }
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
  if (options.scaling.kind != Scaling::Kind::automatic && !options.wire.is_fp32()) {
    return options.scaling;
  }
  const bool scaled = options.wire.is_float() && !options.wire.is_fp32();
  return {scaled ? Scaling::Kind::aps : Scaling::Kind::none};
}

bool Contender::loses_nothing() const { return is_mpi || options.wire.is_fp32(); }

std::string Contender::name() const {
  if (is_mpi) return "mpi " + wire();
  return fmt::format("{} {} {} {} {}", wire(), algorithm(), to_string(options.accumulate),
                     to_string(scaling()), to_string(options.rounding));
}

Contenders contenders_of(const Options& options, Communicator& ranks) {
  Collection collection(ranks);
  for (const std::string& baseline : options.baselines) {
    Contender contender{.is_mpi = baseline == "mpi", .type = options.type};
    contender.options.op = options.op;
    contender.options.algorithm = Algorithm::ring;
    if (baseline != "none") collection.add(contender);
  }
  for (const std::string& wire : options.wires) {
    if (wire == "none") continue;
    for (const Algorithm algorithm : options.algorithms) {
      for (const Accumulate accumulate : options.accumulates) {
        for (const Scaling scaling : options.scalings) {
          for (const Rounding rounding : options.roundings) {
            Contender contender{.type = options.type};
            contender.options = {.op = options.op,
                                 .wire = Format::parse(wire),
                                 .scaling = scaling,
                                 .accumulate = accumulate,
                                 .algorithm = algorithm,
                                 .rounding = rounding,
                                 .seed = options.seed};
            collection.add(contender);
          }
        }
      }
    }
  }
  return collection.take();
}

}  // namespace cpdcomm::perf
