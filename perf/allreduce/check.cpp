#include "allreduce/check.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "allreduce/integer_prediction.hpp"
#include "allreduce/prediction.hpp"

namespace cpdcomm::perf {
namespace {

// Values that are worked on at once: their parts of all ranks shall stay in the caches.
constexpr std::size_t kPiece = 16 << 10;

struct Slice {
  std::size_t first;
  std::size_t end;
};

/// The slice that a rank checks, cut where no format's block is cut.
Slice slice_of(int rank, int ranks, std::size_t count, std::size_t alignment) {
  const std::size_t units = (count + alignment - 1) / alignment;
  const auto cut = [&](int i) {
    return std::min(
        count, units * static_cast<std::size_t>(i) / static_cast<std::size_t>(ranks) * alignment);
  };
  return {cut(rank), cut(rank + 1)};
}

/// FNV-1a over words of 8 bytes.
std::uint64_t hash_of(std::span<const std::byte> bytes) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (std::size_t i = 0; i < bytes.size(); i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + i, std::min<std::size_t>(8, bytes.size() - i));
    hash = (hash ^ word) * 0x100000001b3u;
    hash ^= hash >> 32;
  }
  return hash;
}

/// One sum under check.
class Check {
 public:
  Check(const Inputs& inputs, MPI_Comm comm, int rank, int ranks, const Contender& contender,
        Algorithm taken, const Buffer& sum, std::size_t count)
      : inputs_(inputs),
        comm_(comm),
        rank_(rank),
        ranks_(ranks),
        contender_(contender),
        sum_(sum),
        count_(count),
        case_{.wire = contender.options.wire,
              .scaling = contender.scaling(),
              .accumulate = contender.options.accumulate,
              .algorithm = taken,
              .op = contender.options.op,
              .result = contender.options.result,
              .type = contender.type,
              .ranks = ranks,
              .count = count} {
    const auto parts = static_cast<std::size_t>(ranks);
    for (std::size_t i = 0; i < parts; ++i) parts_.emplace_back(kPiece);
  }

  Verdict operator()() {
    Verdict verdict{.against = judge(), .wrong = differing_between_ranks()};
    if (verdict.against == Against::bits) prepare_prediction();
    const Slice mine = slice(rank_);
    const std::size_t step = std::max(kPiece / alignment(), std::size_t{1}) * alignment();
    for (std::size_t first = mine.first; first < mine.end; first += step) {
      check_piece(first, std::min(step, mine.end - first), verdict.against);
    }
    sum_up(verdict);
    return verdict;
  }

 private:
  Against judge() const {
    AllreduceOptions options = contender_.options;
    options.algorithm = case_.algorithm;
    if (!contender_.is_mpi && can_predict(options, contender_.type)) return Against::bits;
    // What a format with fewer bits may be off by depends on the format; every bit of it is
    // predicted, unless its casts are random or hosts sum first.
    return contender_.loses_nothing() ? Against::bound : Against::ranks;
  }

  std::size_t alignment() const {
    return std::max<std::size_t>(8, contender_.is_mpi ? 0 : contender_.options.wire.block());
  }
  Slice slice(int rank) const { return slice_of(rank, ranks_, count_, alignment()); }

  std::uint64_t total(std::uint64_t mine) const {
    MPI_Allreduce(MPI_IN_PLACE, &mine, 1, MPI_UINT64_T, MPI_SUM, comm_);
    return mine;
  }

  /// Values in which some rank's sum differs from that of the rank which checks the slice.
  std::uint64_t differing_between_ranks() const {
    std::vector<std::uint64_t> mine, theirs(static_cast<std::size_t>(ranks_));
    for (int rank = 0; rank < ranks_; ++rank) {
      const Slice part = slice(rank);
      mine.push_back(hash_of(sum_.bytes(part.first, part.end - part.first)));
    }
    MPI_Alltoall(mine.data(), 1, MPI_UINT64_T, theirs.data(), 1, MPI_UINT64_T, comm_);
    const bool differs = std::ranges::any_of(
        theirs, [&](std::uint64_t hash) { return hash != mine[static_cast<std::size_t>(rank_)]; });
    if (total(differs ? 1 : 0) == 0) return 0;
    std::uint64_t wrong = 0;
    for (int rank = 0; rank < ranks_; ++rank) wrong += differing_from(rank);
    return total(wrong);
  }

  /// Values of a rank's slice that are others here.
  std::uint64_t differing_from(int rank) const {
    const std::size_t size = size_of(contender_.type);
    const Slice part = slice(rank);
    std::vector<std::byte> theirs(kPiece * size);
    std::uint64_t differing = 0;
    for (std::size_t first = part.first; first < part.end; first += kPiece) {
      const std::size_t count = std::min(kPiece, part.end - first);
      const auto own = sum_.bytes(first, count);
      if (rank == rank_) std::ranges::copy(own, theirs.begin());
      MPI_Bcast(theirs.data(), static_cast<int>(own.size()), MPI_BYTE, rank, comm_);
      for (std::size_t i = 0; i < own.size(); i += size) {
        if (std::memcmp(own.data() + i, theirs.data() + i, size) != 0) ++differing;
      }
    }
    return differing;
  }

  /// Finds what APS makes of all ranks' values.
  void prepare_prediction() {
    LargestByGroup mine(case_);
    std::vector<float> values(kPiece);
    for (std::size_t first = 0; first < count_ && !mine.all().empty(); first += kPiece) {
      const std::span piece(values.data(), std::min(kPiece, count_ - first));
      fill(rank_, first, piece);
      mine.see(first, piece);
    }
    // The bits of magnitudes are in the order of the magnitudes, Inf and NaN above all.
    static_assert(sizeof(float) == sizeof(std::uint32_t));
    std::vector<float> largest(mine.all().begin(), mine.all().end());
    MPI_Allreduce(MPI_IN_PLACE, largest.data(), static_cast<int>(largest.size()), MPI_UINT32_T,
                  MPI_MAX, comm_);
    if (is_summed_in_integers(case_.accumulate)) {
      use(std::make_shared<IntegerPrediction>(case_, largest));
    } else {
      use(std::make_shared<Prediction>(case_, largest));
    }
  }

  template <typename Predictor>
  void use(std::shared_ptr<Predictor> predictor) {
    predict_ = [predictor](std::size_t first, std::span<const float* const> parts,
                           std::span<float> out) { predictor->predict(first, parts, out); };
  }

  /// What a rank puts in, as its buffer holds it.
  void fill(int rank, std::size_t first, std::span<float> out) const {
    inputs_.fill(rank, first, out);
    round_to(contender_.type, out);
  }

  void check_piece(std::size_t first, std::size_t count, Against against) {
    std::vector<const float*> parts;
    for (int rank = 0; rank < ranks_; ++rank) {
      std::vector<float>& part = parts_[static_cast<std::size_t>(rank)];
      part.resize(count);
      fill(rank, first, part);
      parts.push_back(part.data());
    }
    std::vector<double> got(count);
    sum_.load(first, got);
    compare_with_double(got, against == Against::bound);
    if (against == Against::bits) compare_bits(first, parts, got);
  }

  /// Whether additions in any order and a last division explain a result (N. J. Higham, Accuracy
  /// and Stability of Numerical Algorithms, section 4.2).
  /// @param exact       in double precision
  /// @param magnitudes  of the parts, summed
  bool explained(double got, double exact, double magnitudes, double divisor) const {
    const bool is_double = contender_.type == DataType::fp64;
    const double largest = is_double ? std::numeric_limits<double>::max()
                                     : static_cast<double>(std::numeric_limits<float>::max());
    // An input that is not finite, or a sum on the way that is too large.
    if (!std::isfinite(got)) return !(magnitudes <= largest);
    if (!std::isfinite(exact)) return false;
    // Of doubles the sum that they are compared with has rounded as often.
    const double unit = is_double ? 0x1p-52 : 0x1p-24;
    // A division may end among the subnormals, whose errors are absolute.
    const double least = divisor == 1 ? 0 : is_double ? 0x1p-1074 : 0x1p-149;
    return std::fabs(got - exact) <=
           static_cast<double>(ranks_ + 1) * unit * magnitudes / divisor + least;
  }

  void compare_with_double(std::span<const double> got, bool judged) {
    const double divisor = case_.op == ReduceOp::average ? ranks_ : 1;
    for (std::size_t i = 0; i < got.size(); ++i) {
      double sum = 0;
      double magnitudes = 0;
      for (const auto& part : parts_) {
        sum += static_cast<double>(part[i]);
        magnitudes += std::fabs(static_cast<double>(part[i]));
      }
      sum /= divisor;
      const double error = std::fabs(got[i] - sum);
      squares_ += sum * sum;
      square_errors_ += error * error;
      // Not the other way round: a NaN is larger than nothing.
      if (!(error <= largest_error_)) largest_error_ = error;
      if (judged && !explained(got[i], sum, magnitudes, divisor)) ++wrong_;
    }
  }

  void compare_bits(std::size_t first, std::span<const float* const> parts,
                    std::span<const double> got) {
    std::vector<float> predicted(got.size());
    predict_(first, parts, predicted);
    for (std::size_t i = 0; i < got.size(); ++i) {
      const auto value = static_cast<float>(got[i]);
      if (std::bit_cast<std::uint32_t>(value) != std::bit_cast<std::uint32_t>(predicted[i])) {
        ++wrong_;
      }
    }
  }

  void sum_up(Verdict& verdict) const {
    verdict.wrong += total(wrong_);
    std::array sums{squares_, square_errors_};
    MPI_Allreduce(MPI_IN_PLACE, sums.data(), 2, MPI_DOUBLE, MPI_SUM, comm_);
    // MPI's MAX need not keep a NaN.
    double largest = std::isnan(largest_error_) ? INFINITY : largest_error_;
    MPI_Allreduce(MPI_IN_PLACE, &largest, 1, MPI_DOUBLE, MPI_MAX, comm_);
    if (!std::isfinite(largest) || !std::isfinite(sums[0]) || !std::isfinite(sums[1])) return;
    verdict.max_error = largest;
    if (largest == 0) verdict.rel_rms = 0;
    if (sums[0] > 0) verdict.rel_rms = std::sqrt(sums[1] / sums[0]);
  }

  const Inputs& inputs_;
  MPI_Comm comm_;
  int rank_;
  int ranks_;
  const Contender& contender_;
  const Buffer& sum_;
  std::size_t count_;
  Case case_;
  std::function<void(std::size_t, std::span<const float* const>, std::span<float>)> predict_;
  std::vector<std::vector<float>> parts_;
  double squares_ = 0;
  double square_errors_ = 0;
  double largest_error_ = 0;
  std::uint64_t wrong_ = 0;
};

}  // namespace

std::string to_string(Against against) {
  switch (against) {
    case Against::bits:
      return "bits";
    case Against::bound:
      return "bound";
    case Against::ranks:
      break;
  }
  return "ranks";
}

Checker::Checker(const Inputs& inputs, MPI_Comm ranks) : inputs_(inputs), comm_(ranks) {
  MPI_Comm_rank(ranks, &rank_);
  MPI_Comm_size(ranks, &ranks_);
}

Verdict Checker::check(const Contender& contender, Algorithm taken, const Buffer& sum,
                       std::size_t count) {
  return Check(inputs_, comm_, rank_, ranks_, contender, taken, sum, count)();
}

}  // namespace cpdcomm::perf
