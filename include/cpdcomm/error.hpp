#pragma once

#include <stdexcept>
#include <string>

#include "cpdcomm/export.hpp"

namespace cpdcomm {

/// What went wrong, grouped by what is still usable afterwards.
enum class ErrorCode {
  invalid_argument,  ///< A value is not allowed. Nothing happened; the communicator is usable.
  unsupported,  ///< Allowed, but not offered here. Nothing happened; the communicator is usable.
  mismatch,     ///< The ranks asked for different things, or a peer refused the operation. The
                ///< tensors of this call are undefined; the communicator is usable.
  timeout,      ///< A peer did not answer in time. The communicator is dead, the process is fine.
  peer_failed,  ///< A peer is gone or gave up. The communicator is dead, the process is fine.
};

/// The name of a code as it is written in source ("invalid_argument", ...).
CPDCOMM_API const char* to_string(ErrorCode code) noexcept;

/// The only exception type that the library throws on purpose.
class CPDCOMM_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace cpdcomm
