#pragma once

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace cpdcomm::perf {

/// A line on the terminal that says how far the work is; nothing where there is no terminal.
class Progress {
 public:
  /// @param sizes  all that will be run, in bytes
  /// @param shown  whether this process shows it
  Progress(const std::vector<std::size_t>& sizes, bool shown);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// @param iteration  negative: before the timed ones
  void show(std::size_t size, const std::string& contender, int iteration, int of);
  /// A size is done.
  void done(std::size_t size);
  /// Makes room for other lines.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  static double weight(std::size_t size);
  std::string time_left() const;

  std::FILE* terminal_ = nullptr;
  bool opened_ = false;
  bool dirty_ = false;
  double all_ = 0;
  double done_ = 0;
  Clock::time_point begin_ = Clock::now();
  Clock::time_point last_ = begin_;
};

}  // namespace cpdcomm::perf
