#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace cpdcomm::perf {

/// What each rank puts into an all-reduce: any part of it, at any time and on any rank, so that a
/// check can work out what all ranks have put into a slice.
class Inputs {
 public:
  virtual ~Inputs() = default;

  /// Values first .. first + out.size() - 1 of a rank; the same in every call.
  virtual void fill(int rank, std::size_t first, std::span<float> out) const = 0;
  /// A few words for a table's head.
  virtual std::string describe() const = 0;
};

/// Standard normal numbers (G. E. P. Box and M. E. Muller, A note on the generation of random
/// normal deviates, 1958) from counter-based random words: value i of rank r depends on seed, r and
/// i alone. The last bits may differ where the C library does.
std::unique_ptr<Inputs> random_inputs(std::uint32_t seed);

/// The rows of an array, over and over: rank r starts with row r and goes on with the next. A
/// single row is one ring for all ranks, of which rank r starts at r / ranks.
/// @param values   `rows` x `columns`, row by row
/// @param ranks    the number of ranks that share a single row
/// @param name     where the array comes from, for describe()
/// @throws Error invalid_argument unless there are rows x columns values, at least one
std::unique_ptr<Inputs> array_inputs(std::vector<float> values, std::size_t rows,
                                     std::size_t columns, int ranks, std::string name);

}  // namespace cpdcomm::perf
