#include "cpdcomm/error.hpp"

#include "cpdcomm/version.hpp"

namespace cpdcomm {

const char* to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::mismatch:
      return "mismatch";
    case ErrorCode::timeout:
      return "timeout";
    case ErrorCode::peer_failed:
      return "peer_failed";
  }
  return "unknown";
}

#define CPDCOMM_STRING_(x) #x
#define CPDCOMM_STRING(x) CPDCOMM_STRING_(x)

const char* version() noexcept {
  return CPDCOMM_STRING(CPDCOMM_VERSION_MAJOR) "." CPDCOMM_STRING(
      CPDCOMM_VERSION_MINOR) "." CPDCOMM_STRING(CPDCOMM_VERSION_PATCH);
}

}  // namespace cpdcomm
