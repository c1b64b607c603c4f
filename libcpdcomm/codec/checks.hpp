#pragma once

#include "cpdcomm/codec.hpp"

namespace cpdcomm::codec {

/// Options as the kernels take them.
/// @throws Error invalid_argument for a shift of a block format
CastOptions checked(CastOptions options, Format format);

}  // namespace cpdcomm::codec
