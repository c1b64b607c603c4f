#include "codecs/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "common/text.hpp"

namespace cpdcomm::perf {
namespace {

constexpr const char* kClearLine = "\r\033[K";

}  // namespace

Progress::Progress(std::size_t runs) : terminal_(isatty(STDERR_FILENO) == 1), runs_(runs) {}

Progress::~Progress() {
  if (terminal_) fmt::print(stderr, "{}", kClearLine);
}

void Progress::begin(const std::string& name, std::int64_t iterations) {
  if (!terminal_) return;
  const auto [at, is_first] = iterations_.try_emplace(name, iterations);
  const bool searches = !is_first && iterations > at->second;
  at->second = iterations;
  if (!searches) ++begun_;
  const Clock::time_point now = Clock::now();
  if (now - shown_ > std::chrono::milliseconds(500)) show(now);
}

void Progress::show(Clock::time_point now) {
  shown_ = now;
  const std::size_t done = begun_ - 1;
  std::string line = fmt::format("{}# {} runs", kClearLine, done);
  if (runs_ > 0 && done > 0) {
    const double elapsed = std::chrono::duration<double>(now - start_).count();
    const double left = elapsed / static_cast<double>(done) * static_cast<double>(runs_ - done);
    line = fmt::format("{}# {} of {} runs, about {} left", kClearLine, done, runs_, in_time(left));
  }
  fmt::print(stderr, "{}", line);
  std::fflush(stderr);
}

}  // namespace cpdcomm::perf
