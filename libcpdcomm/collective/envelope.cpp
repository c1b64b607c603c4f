#include "collective/envelope.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "collective/option_digest.hpp"
#include "cpdcomm/options.hpp"
#include "cpdcomm/version.hpp"

namespace cpdcomm::collective {
namespace {

std::string_view name_of(Collective collective) {
  switch (collective) {
    case Collective::allreduce:
      return "allreduce";
    case Collective::reduce_scatter:
      return "reduce_scatter";
    case Collective::broadcast:
      return "broadcast";
    case Collective::allgather:
      return "allgather";
    case Collective::barrier:
      return "barrier";
    case Collective::reduce:
      return "reduce";
    case Collective::gather:
      return "gather";
    case Collective::scatter:
      return "scatter";
    case Collective::alltoall:
      return "alltoall";
  }
  return "unknown call";
}

/// An option that a digest holds as it is.
template <typename T>
std::string named(const char* option, std::uint32_t mine, std::uint32_t theirs) {
  return fmt::format("{} '{}' (this rank: '{}')", option, to_string(static_cast<T>(theirs)),
                     to_string(static_cast<T>(mine)));
}

MessageHeader header_of(const Envelope& envelope) {
  MessageHeader header{};
  header.magic = kMagic;
  header.version = wire_version;
  header.kind = Kind::data;
  header.collective = envelope.call.collective;
  header.phase = envelope.phase;
  header.sequence = envelope.call.sequence;
  header.values = envelope.call.values;
  header.options = envelope.call.options;
  header.options_hash = envelope.call.options_hash;
  header.segment = static_cast<std::uint32_t>(envelope.segment);
  header.chunk = static_cast<std::uint32_t>(envelope.chunk);
  header.parts = static_cast<std::uint32_t>(envelope.message.parts);
  header.payload = static_cast<std::uint8_t>(envelope.message.payload);
  header.body_bytes = static_cast<std::uint16_t>(envelope.body_bytes);
  return header;
}

[[noreturn]] void refused(const Call& call, int peer, const MessageHeader& got,
                          const std::byte* body) {
  const std::string_view reason(reinterpret_cast<const char*>(body), got.body_bytes);
  const auto code = static_cast<ErrorCode>(got.code);
  const bool gone = code == ErrorCode::timeout || code == ErrorCode::peer_failed;
  throw Error(gone ? ErrorCode::peer_failed : ErrorCode::mismatch,
              fmt::format("{}: rank {} gave up: {}", describe(call), peer, reason));
}

/// What two ranks asked for differently, in words; empty when their calls agree.
std::string difference(const Call& call, const MessageHeader& got) {
  if (got.collective != call.collective) return fmt::format("is in {}", name_of(got.collective));
  if (got.values != call.values) {
    return fmt::format("brings {} values, this rank {}", got.values, call.values);
  }
  const std::string options =
      difference(OptionDigest::of(call.options), OptionDigest::of(got.options));
  if (!options.empty()) return "asked for " + options;
  if (got.options_hash != call.options_hash) {
    return "asked for something else: other tensor sizes or types, root, emulated nodes, factors, "
           "error feedback, step or segment_bytes; or, less likely, another wire format, scaling, "
           "inner format or seed";
  }
  return {};
}

Error differs(const Call& call, int peer, const std::string& how) {
  return Error(ErrorCode::mismatch, fmt::format("{}: rank {} {}", describe(call), peer, how));
}

}  // namespace

std::string difference(OptionDigest mine, OptionDigest theirs) {
  std::vector<std::string> all;
  const auto add = [&](bool differs, std::string text) {
    if (differs) all.push_back(std::move(text));
  };
  // What goes with an option that differs says nothing: the scaling of a format, the seed of a
  // rounding, and what is across hosts and inside them of an algorithm.
  add(mine.op != theirs.op, named<ReduceOp>("op", mine.op, theirs.op));
  add(mine.wire != theirs.wire, "another wire format");
  add(mine.wire == theirs.wire && mine.scaling != theirs.scaling, "another scaling");
  add(mine.accumulate != theirs.accumulate,
      named<Accumulate>("accumulate", mine.accumulate, theirs.accumulate));
  add(mine.result != theirs.result, named<Result>("result", mine.result, theirs.result));
  add(mine.rounding != theirs.rounding,
      named<Rounding>("rounding", mine.rounding, theirs.rounding));
  const bool other_algorithm = mine.algorithm != theirs.algorithm;
  add(other_algorithm, named<Algorithm>("algorithm", mine.algorithm, theirs.algorithm));
  add(!other_algorithm && mine.across != theirs.across,
      named<Algorithm>("across", mine.across, theirs.across));
  add(!other_algorithm && mine.inner != theirs.inner, "another inner format");
  add(mine.rounding == theirs.rounding && mine.seed != theirs.seed, "another seed");
  return fmt::format("{}", fmt::join(all, ", "));
}

std::string describe(const Call& call) {
  return fmt::format("{} {}", name_of(call.collective), call.sequence);
}

void write_header(const Envelope& envelope, std::byte* to) {
  const MessageHeader header = header_of(envelope);
  std::memcpy(to, &header, sizeof header);
}

void write_notice(const Call& call, Kind kind, ErrorCode code, std::size_t reason_bytes,
                  std::byte* to) {
  const schedule::Message nothing{0, schedule::Payload::part, 0};
  MessageHeader header = header_of({call, 0, 0, 0, nothing, reason_bytes});
  header.kind = kind;
  header.code = static_cast<std::uint8_t>(code);
  std::memcpy(to, &header, sizeof header);
}

void check_call(const Call& call, int peer, const std::byte* received) {
  MessageHeader got;
  std::memcpy(&got, received, sizeof got);
  if (got.magic != kMagic || got.version != wire_version) {
    throw differs(
        call, peer,
        fmt::format("speaks version {} of the wire, this rank {}", got.version, wire_version));
  }
  if (got.sequence != call.sequence) return;
  if (got.kind == Kind::refusal) refused(call, peer, got, received + sizeof got);
  const std::string how = difference(call, got);
  if (!how.empty()) throw differs(call, peer, how);
}

void check(const Envelope& expected, std::span<const std::byte> received) {
  MessageHeader got;
  std::memcpy(&got, received.data(), sizeof got);
  const MessageHeader wanted = header_of(expected);
  const bool whole = received.size() == sizeof got + expected.body_bytes;
  if (whole && std::memcmp(&got, &wanted, sizeof got) == 0) return;

  const Call& call = expected.call;
  const int peer = expected.message.peer;
  check_call(call, peer, received.data());
  if (got.sequence == kLeft) {
    throw Error(ErrorCode::peer_failed,
                fmt::format("{}: rank {} has left the group", describe(call), peer));
  }
  if (got.sequence != call.sequence) {
    throw differs(call, peer, fmt::format("is already at call {}", got.sequence));
  }
  throw differs(call, peer, "sent a message that is not its turn");
}

}  // namespace cpdcomm::collective
