#include "allreduce/progress.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "common/text.hpp"

namespace cpdcomm::perf {
namespace {

// Calls of small vectors take about as long as those of this size.
constexpr double kLatencyBytes = 64 << 10;

/// The terminal of a launcher that was started in its foreground: mpirun takes its ranks' streams
/// away, but not that.
std::FILE* terminal_of_launcher() {
  const int descriptor = open("/dev/tty", O_WRONLY | O_NOCTTY | O_CLOEXEC);
  if (descriptor < 0) return nullptr;
  if (tcgetpgrp(descriptor) != getpgid(getppid())) {
    close(descriptor);
    return nullptr;
  }
  return fdopen(descriptor, "w");
}

}  // namespace

double Progress::weight(std::size_t size) { return static_cast<double>(size) + kLatencyBytes; }

Progress::Progress(const std::vector<std::size_t>& sizes, bool shown) {
  for (const std::size_t size : sizes) all_ += weight(size);
  if (!shown) return;
  if (isatty(STDERR_FILENO) != 0) {
    terminal_ = stderr;
  } else {
    terminal_ = terminal_of_launcher();
    opened_ = terminal_ != nullptr;
  }
}

Progress::~Progress() {
  clear();
  if (opened_) std::fclose(terminal_);
}

std::string Progress::time_left() const {
  if (done_ <= 0) return "";
  const std::chrono::duration<double> elapsed = Clock::now() - begin_;
  const double left = elapsed.count() / done_ * (all_ - done_);
  return fmt::format(", about {} left", in_time(left));
}

void Progress::show(std::size_t size, const std::string& contender, int iteration, int of) {
  if (terminal_ == nullptr || Clock::now() - last_ < std::chrono::milliseconds(200)) return;
  last_ = Clock::now();
  const std::string what =
      iteration < 0 ? "checks" : fmt::format("iteration {} of {}", iteration + 1, of);
  fmt::print(terminal_, "\r\x1b[K# {}  {}  {}{}", in_bytes(size), contender, what, time_left());
  std::fflush(terminal_);
  dirty_ = true;
}

void Progress::done(std::size_t size) { done_ += weight(size); }

void Progress::clear() {
  if (!dirty_) return;
  fmt::print(terminal_, "\r\x1b[K");
  std::fflush(terminal_);
  dirty_ = false;
}

}  // namespace cpdcomm::perf
