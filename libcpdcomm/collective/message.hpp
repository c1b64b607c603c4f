#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "transport/transport.hpp"

namespace cpdcomm::collective {

enum class Kind : std::uint8_t {
  data,
  refusal,  ///< the sender cannot take part; the body is the reason in words
  waiting,  ///< the sender has waited for long: a rank that is in another call should know
};

enum class Collective : std::uint8_t {
  allreduce,
  reduce_scatter,
  broadcast,
  allgather,
  barrier,
  reduce,
  gather,
  scatter,
  alltoall
};

/// What ranks must agree about before their bytes may meet.
struct Call {
  std::uint64_t sequence = 0;      ///< calls on this communicator so far
  std::uint64_t values = 0;        ///< of all tensors
  std::uint32_t options = 0;       ///< OptionDigest: says which of them differs
  std::uint32_t options_hash = 0;  ///< of all options, tensor boundaries, types, ...: says whether
  Collective collective = Collective::allreduce;
};

/// Stands before the body of every message. Little-endian, versioned with `wire_version`.
struct MessageHeader {
  std::uint32_t magic;
  std::uint8_t version;
  Kind kind;
  Collective collective;
  std::uint8_t phase;  ///< of a call that sums more than once: the exponents first
  std::uint64_t sequence;
  std::uint64_t values;
  std::uint32_t options;
  std::uint32_t options_hash;
  std::uint32_t segment;
  std::uint32_t chunk;
  std::uint32_t parts;
  std::uint8_t payload;
  std::uint8_t code;  ///< of a refusal: its ErrorCode
  std::uint16_t body_bytes;
};
static_assert(sizeof(MessageHeader) == 48 && std::is_trivially_copyable_v<MessageHeader>);

/// The number of the call that a message belongs to.
inline std::uint64_t sequence_of(const std::byte* message) {
  MessageHeader header;
  std::memcpy(&header, message, sizeof header);
  return header.sequence;
}

inline constexpr std::uint32_t kMagic = 0x43445043;  // "CPDC"

inline constexpr std::size_t kLargestBody = transport::kLongestMessage - sizeof(MessageHeader);

/// The sequence number of a rank's last message: it has left the group.
inline constexpr std::uint64_t kLeft = ~std::uint64_t{0};

/// FNV-1a, 32 bits. Not against malice: against ranks that differ by mistake.
class Hash {
 public:
  void add(std::uint64_t value) {
    for (int i = 0; i < 8; ++i, value >>= 8) {
      state_ = (state_ ^ static_cast<std::uint32_t>(value & 0xffu)) * 16777619u;
    }
  }
  std::uint32_t value() const { return state_; }

 private:
  std::uint32_t state_ = 2166136261u;
};

}  // namespace cpdcomm::collective
