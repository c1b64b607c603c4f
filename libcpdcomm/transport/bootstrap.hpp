#pragma once

#include "cpdcomm/bootstrap.hpp"

namespace cpdcomm::transport {

using cpdcomm::Bootstrap;

}  // namespace cpdcomm::transport
