#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "collective/message.hpp"
#include "cpdcomm/error.hpp"
#include "schedule/schedule.hpp"

namespace cpdcomm::collective {

/// All that a message's header says.
struct Envelope {
  const Call& call;
  std::uint8_t phase;
  std::size_t segment;
  int chunk;
  const schedule::Message& message;
  std::size_t body_bytes;
};

/// "allreduce 17": the call as error messages name it.
std::string describe(const Call& call);

void write_header(const Envelope& envelope, std::byte* to);
/// Of a message that says something about a call.
/// @param code  why, of a refusal
void write_notice(const Call& call, Kind kind, ErrorCode code, std::size_t reason_bytes,
                  std::byte* to);

/// Compares the call that a received message belongs to with this rank's; a later one may differ.
/// @throws Error mismatch that says what differs and who sent it; a refusal's own code
void check_call(const Call& call, int peer, const std::byte* received);

/// Compares a received message with the one that was expected.
/// @throws Error as check_call
void check(const Envelope& expected, std::span<const std::byte> received);

}  // namespace cpdcomm::collective
