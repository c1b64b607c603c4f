#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cpdcomm::codec {

/// The sets of kernels that this machine can run: that of its best instruction set, which codecs
/// take unless told otherwise, first, and `plain` last.
std::vector<std::string> targets();

/// Codecs that are made from now on have these kernels: for tests and comparisons.
/// @throws Error invalid_argument for another name than those of targets()
void use_target(std::string_view name);

}  // namespace cpdcomm::codec
