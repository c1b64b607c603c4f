#pragma once

#include <cfenv>

namespace cpdcomm::codec {

/// The default floating-point environment while it lives: round to nearest, nothing flushed to
/// zero, whatever the caller has set (torch.set_flush_denormal, for one).
class FloatEnvironment {
 public:
  FloatEnvironment() {
    std::fegetenv(&callers_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~FloatEnvironment() { std::fesetenv(&callers_); }
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;

 private:
  std::fenv_t callers_;
};

}  // namespace cpdcomm::codec
