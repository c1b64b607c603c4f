#pragma once

#include "cpdcomm/export.hpp"

#define CPDCOMM_VERSION_MAJOR 0
#define CPDCOMM_VERSION_MINOR 1
#define CPDCOMM_VERSION_PATCH 0

namespace cpdcomm {

/// Version of the packed byte layout and of the message header. Ranks whose versions differ refuse
/// each other with `ErrorCode::mismatch`.
inline constexpr int wire_version = 3;

/// "major.minor.patch" of the library that is loaded (not of the headers that were compiled).
CPDCOMM_API const char* version() noexcept;

}  // namespace cpdcomm
