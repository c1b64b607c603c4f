#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

namespace cpdcomm::perf {

/// A line on stderr that says how far the measurement is; nothing where stderr is no terminal.
class Progress {
 public:
  /// @param runs how many there will be; 0 where nobody knows
  explicit Progress(std::size_t runs);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// A call of what is measured begins. The first run of each name is called several times, with
  /// more and more iterations, until they take long enough; only the last of these calls counts.
  void begin(const std::string& name, std::int64_t iterations);

 private:
  using Clock = std::chrono::steady_clock;

  void show(Clock::time_point now);

  bool terminal_;
  std::size_t runs_;
  std::size_t begun_ = 0;
  std::map<std::string, std::int64_t> iterations_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point shown_ = start_;
};

}  // namespace cpdcomm::perf
