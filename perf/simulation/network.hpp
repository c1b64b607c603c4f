#pragma once

#include <optional>
#include <string>

#include "simulation/options.hpp"

namespace cpdcomm::perf {

/// Bytes per second from bits with a unit: 100mbit, 2.5gbit. None for another text.
std::optional<double> parse_rate(const std::string& text);

/// A network by its name, which is the rate of a host's link, or "host" for all ranks on one host.
/// Of a link's rate TCP/IP over Ethernet leaves 94 percent for the payload: 1448 of 1538 bytes.
schedule::Network network_of(const std::string& name, const Options& options);

/// The name of a network without links between hosts.
inline constexpr const char* kOneHost = "host";

}  // namespace cpdcomm::perf
