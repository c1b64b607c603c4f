#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "collective/tuning/decision.hpp"

namespace cpdcomm::collective::tuning {

/// Plans the calls of one group of ranks, by one table for all of its life.
class Tuner {
 public:
  /// @param segment_bytes  asked for; 0: free
  /// @param tells          whether this rank prints each new kind of decision to stderr
  Tuner(Place place, std::size_t segment_bytes, bool tells)
      : place_(std::move(place)), segment_bytes_(segment_bytes), tells_(tells) {}

  /// @param source  where the table comes from, in words
  void use(Table table, std::string source);
  const Place& place() const { return place_; }

  /// The plan of a call; the last few are kept, because training repeats its calls.
  const Plan& plan(const Question& question);

 private:
  struct Kept {
    Question question;
    Plan plan;
    bool used = false;
  };
  static constexpr std::size_t kKept = 64;

  Plan decide(const Question& question);
  void tell(const Question& question, const Decision& decision);

  Place place_;
  std::size_t segment_bytes_;
  bool tells_;
  const Table* table_ = &builtin_table();
  Table own_table_;
  std::string source_ = "built in";
  std::array<Kept, kKept> kept_;
  std::size_t next_ = 0;  // to be forgotten
  std::vector<std::string> told_;
};

}  // namespace cpdcomm::collective::tuning
