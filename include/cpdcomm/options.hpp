#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "cpdcomm/export.hpp"
#include "cpdcomm/format.hpp"

namespace cpdcomm {

/// The reduction. `average` divides the sum by ranks (times emulated nodes), one FP32 division.
/// Only `sum` and `average` of float tensors are ever compressed; the others are exact.
enum class ReduceOp { sum, average, product, min, max, bit_and, bit_or, bit_xor };

/// How partial sums are kept. Additions are FP32; Q is a cast to the wire format. `rounded` and
/// `kahan` under `direct` are the sums of CPD (R. Han, J. Demmel, Y. You, arXiv:1911.08907); the
/// compensation is W. Kahan's (Further remarks on reducing truncation errors, CACM 8(1), 1965).
enum class Accumulate {
  wide,      ///< FP32; a partial sum that travels is encoded once more
  rounded,   ///< res = Q(res + g_r) after every addition
  kahan,     ///< compensated: y = Q(g-c), t = Q(res+y), c = Q(Q(t-res)-y), res = t
  exact,     ///< integers on scales that all ranks share: of `bfpK` and `intK`, the same bits for
             ///< every algorithm, segment size and order of the ranks
  majority,  ///< with `sign`: the sign that most ranks have, 0 for a tie (J. Bernstein, J. Zhao, K.
             ///< Azizzadenesheli, A. Anandkumar, signSGD with majority vote, ICLR 2019)
};

/// Who sends what to whom. The ring is that of P. Patarasu and X. Yuan (Bandwidth optimal
/// all-reduce algorithms for clusters of workstations, JPDC 69(2), 2009); the trees that of P.
/// Sanders, J. Speck and J. L. Traeff (Parallel Computing 35(12), 2009); halving and doubling that
/// of R. Thakur, R. Rabenseifner and W. Gropp (IJHPCA 19(1), 2005).
///
/// `direct` hears all others at once: over MPI and UCX a rank keeps receives of 4 lanes x 2
/// messages x 60 KiB, 480 KiB, for each peer on another host; 15 MiB among 32 ranks, 240 MiB among
/// 512. `automatic` takes it among at most 32. Few bytes it may send in one hop instead, all parts
/// to all ranks: `exchange` in tables and in what CPDCOMM_DEBUG=info prints, with the same bits,
/// as many messages at once, and `direct` in Report::algorithm.
///
/// Of N ranks; a value is cast so many times at most:
enum class Algorithm {
  automatic,         ///< by a table of times, the same on every rank and in every run
  direct,            ///< each chunk's owner gets all parts and joins them in rank order: two casts
  ring,              ///< partial sums travel round a ring and are cast at every hop: N
  tree,              ///< up and down two trees, each with half of the vector: about log2 N + 1
  halving_doubling,  ///< ranks swap halves, then quarters, ...: log2 N + 1
  hierarchical,      ///< inside each host first, then across hosts (AllreduceOptions::across)
  native,            ///< the network's own, in FP32: what `automatic` may take, never asked for
};

/// How casts round.
enum class Rounding {
  nearest_even,
  stochastic,  ///< up or down at random, so that the mean is the value; not with `kahan`
};

/// Whether a tensor gets a shared power-of-two exponent before it is cast (APS, auto precision
/// scaling: the largest possible sum lands at the format's top, so small gradients do not
/// underflow).
struct Scaling {
  enum class Kind {
    automatic,  ///< `aps` wherever the wire is a float format other than fp32
    none,
    aps,      ///< of float formats, and of the blocks of `exact`
    delayed,  ///< as `aps`, with the exponent of the call before (Tensor::memory), so that no
              ///< message goes ahead
  };
  Kind kind = Kind::automatic;
  std::size_t group = 0;  ///< values that share an exponent, a multiple of 8; 0: the whole tensor

  friend constexpr bool operator==(const Scaling&, const Scaling&) = default;
};

/// How a sum of `exact` travels back.
enum class Result {
  full,  ///< in full width
  wire,  ///< cast once to the wire format's bits
};

/// What a call asks for. The defaults lose no precision.
struct AllreduceOptions {
  ReduceOp op = ReduceOp::sum;
  Format wire = {};  ///< fp32: exact values on the wire
  Scaling scaling = {};
  Accumulate accumulate = Accumulate::wide;  ///< `rounded` and `kahan` are for float formats
  Algorithm algorithm = Algorithm::automatic;
  /// Of `hierarchical`: the algorithm between hosts.
  Algorithm across = Algorithm::automatic;
  /// Of `hierarchical`: the format inside a host; empty: the wire format.
  std::optional<Format> inner = Format();
  Result result = Result::full;  ///< of `exact`
  Rounding rounding = Rounding::nearest_even;
  /// Of stochastic rounding, the same on all ranks; left out it is 0.
  std::optional<std::uint32_t> seed = {};
  /// Of stochastic rounding: a number that each call has for itself, or its random words are those
  /// of the call before; the same on all ranks.
  std::uint32_t step = 0;
  int emulate_nodes = 1;                 ///< each rank stands for so many; see Tensor::nodes
  std::chrono::milliseconds timeout{0};  ///< of the whole call; 0: the communicator's own
};

/// Names as people type them: "sum", "avg", "wide", "direct", "aps:512", ...
CPDCOMM_API std::string to_string(ReduceOp op);
CPDCOMM_API std::string to_string(Accumulate accumulate);
CPDCOMM_API std::string to_string(Algorithm algorithm);
CPDCOMM_API std::string to_string(Scaling scaling);
CPDCOMM_API std::string to_string(Rounding rounding);
CPDCOMM_API std::string to_string(Result result);

/// The inverses of to_string.
/// @throws Error invalid_argument that names the text and what is allowed
CPDCOMM_API ReduceOp parse_reduce_op(std::string_view text);
CPDCOMM_API Accumulate parse_accumulate(std::string_view text);
CPDCOMM_API Algorithm parse_algorithm(std::string_view text);
CPDCOMM_API Scaling parse_scaling(std::string_view text);
CPDCOMM_API Rounding parse_rounding(std::string_view text);
CPDCOMM_API Result parse_result(std::string_view text);
/// "wire" is the empty one.
CPDCOMM_API std::optional<Format> parse_inner(std::string_view text);

/// What the variables say, for programs that cannot be changed:
///
/// | variable | fills | example |
/// | --- | --- | --- |
/// | CPDCOMM_WIRE | AllreduceOptions::wire | e4m3 |
/// | CPDCOMM_SCALING | AllreduceOptions::scaling | aps:512 |
/// | CPDCOMM_ACCUMULATE | AllreduceOptions::accumulate | kahan |
/// | CPDCOMM_ALGORITHM | AllreduceOptions::algorithm | ring |
/// | CPDCOMM_ACROSS | AllreduceOptions::across | ring |
/// | CPDCOMM_INNER | AllreduceOptions::inner | wire |
/// | CPDCOMM_RESULT | AllreduceOptions::result | wire |
/// | CPDCOMM_ROUNDING | AllreduceOptions::rounding | stochastic |
/// | CPDCOMM_SEED | AllreduceOptions::seed, 0 to 2^32 - 1 | 42 |
/// | CPDCOMM_TIMEOUT | AllreduceOptions::timeout, in seconds | 60 |
/// | CPDCOMM_SHARED_MEMORY | `off` does as CommunicatorOptions::shared_memory = false | off |
/// | CPDCOMM_TUNING | CommunicatorOptions::tuning, where that is empty | cluster.json |
/// | CPDCOMM_CHECK | CommunicatorOptions::check, where that is false; 0 or 1 | 1 |
/// | CPDCOMM_CODEC_THREADS | CommunicatorOptions::codec_threads, where that is 0 | 1 |
/// | CPDCOMM_SEGMENT_BYTES | CommunicatorOptions::segment_bytes, where that is 0 | 32768 |
/// | CPDCOMM_MIN_BYTES | Selection::min_bytes | 16384 |
/// | CPDCOMM_COLLECTIVES | Selection's collectives | all_reduce,reduce_scatter,all_gather |
/// | CPDCOMM_TRANSPORT | of torch's groups: `auto`, `mpi` or `ucx` | ucx |
/// | CPDCOMM_DEBUG | `info` prints what is in force, and on rank 0 what is chosen | info |
///
/// They are read once. An unknown CPDCOMM_ name is warned about on stderr with the nearest known.
/// @throws Error invalid_argument that names the variable, its value and what is allowed
CPDCOMM_API const AllreduceOptions& environment_options();

/// Which calls of programs that do not name this library (torch.distributed's own) travel in the
/// wire format that the options say: SUM and AVG of floats alone, and never smaller ones.
struct Selection {
  std::size_t min_bytes = 0;  ///< the least that a tensor has, or a rank's share of it
  bool all_reduce = true;
  bool reduce_scatter = false;
  bool all_gather = false;
};

/// "all_reduce,reduce_scatter": the collectives of a selection, as people type them.
/// @throws Error invalid_argument that names the one that is unknown
CPDCOMM_API Selection parse_collectives(std::string_view text);

/// What the environment says of it; min_bytes is 4096 there unless set, so that counts stay exact.
CPDCOMM_API const Selection& environment_selection();
/// CPDCOMM_TRANSPORT: "auto", "mpi" or "ucx".
CPDCOMM_API const std::string& environment_transport();
/// Whether CPDCOMM_DEBUG asks for what was decided, on stderr.
CPDCOMM_API bool environment_debug();

}  // namespace cpdcomm
