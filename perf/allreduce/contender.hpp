#pragma once

#include <string>
#include <vector>

#include "allreduce/options.hpp"
#include "cpdcomm/communicator.hpp"

namespace cpdcomm::perf {

/// One way to sum, which takes its turns with the others.
struct Contender {
  bool is_mpi = false;            ///< MPI_Allreduce
  AllreduceOptions options = {};  ///< else
  DataType type = DataType::fp32;

  /// As it is asked for, or "mpi".
  std::string algorithm() const;
  /// What is on the wire: of values that are never compressed their own type.
  std::string wire() const;
  /// The scaling in force.
  Scaling scaling() const;
  /// Whether hosts play a part, as they do in `hierarchical`.
  bool knows_hosts() const;
  /// Whether the values travel in all their bits.
  bool loses_nothing() const;
  /// For people.
  std::string name() const;

  friend bool operator==(const Contender& a, const Contender& b) {
    return a.is_mpi == b.is_mpi && a.name() == b.name();
  }
};

/// A combination that was asked for and cannot be.
struct LeftOut {
  std::string contender;
  std::string reason;
};

struct Contenders {
  std::vector<Contender> all;  ///< baselines first
  std::vector<LeftOut> left_out;
};

/// All combinations that the options name, each once. Every rank calls, with the same options.
Contenders contenders_of(const Options& options, Communicator& ranks);

}  // namespace cpdcomm::perf
