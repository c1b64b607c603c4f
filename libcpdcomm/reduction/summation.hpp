#pragma once

#include <algorithm>
#include <vector>

#include "codec/codec.hpp"
#include "cpdcomm/options.hpp"

namespace cpdcomm::reduction {

/// A partial sum of a tile: values that are worked on at once, never part of a format's block. What
/// `wide` and `rounded` keep is `sum` alone.
struct PartialSum {
  std::vector<float> sum;
  std::vector<float> compensation;

  void resize(std::size_t count) {
    sum.resize(count);
    compensation.resize(count);
  }
};

/// The cast Q of a block of one tensor, after scaling.
class Cast {
 public:
  Cast(const codec::Codec& codec, const CastOptions& options) : codec_(codec), options_(options) {}
  void operator()(float* values, std::size_t count) const {
    codec_.round(values, count, options_, values);
  }

 private:
  const codec::Codec& codec_;
  CastOptions options_;
};

/// How partial sums are kept: `wide`, `rounded` or `kahan`.
class Summation {
 public:
  virtual ~Summation() = default;

  /// Whether a partial sum is a pair.
  virtual bool has_compensation() const { return false; }
  /// Makes a sum of no parts.
  void clear(PartialSum& sum, std::size_t count) const {
    std::fill_n(sum.sum.begin(), count, 0.0f);
    if (has_compensation()) std::fill_n(sum.compensation.begin(), count, 0.0f);
  }
  /// Whether to join is no more than to add.
  virtual bool only_adds() const { return false; }
  /// Adds one rank's or node's part.
  virtual void add(PartialSum& to, const float* part, std::size_t count,
                   const Cast& cast) const = 0;
  /// Joins a later partial sum.
  virtual void join(PartialSum& to, const PartialSum& later, std::size_t count,
                    const Cast& cast) const = 0;
};

/// The summation of `wide`, `rounded` or `kahan`.
/// @throws Error invalid_argument for another
const Summation& summation_for(Accumulate accumulate);

}  // namespace cpdcomm::reduction
