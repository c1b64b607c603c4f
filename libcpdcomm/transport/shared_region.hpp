#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "transport/shared_object.hpp"
#include "transport/transport.hpp"

namespace cpdcomm::transport {

/// How memory is laid out in which ranks of one host send to each other: the same in all of them.
///
/// Each rank has one region. In it stand its slots, which hold messages, and for each reader and
/// channel a ring, with that reader's next messages: short ones themselves, and for longer ones in
/// which slot they are, of any rank.
struct RegionShape {
  std::size_t ranks = 1;     ///< on the host
  std::size_t channels = 1;  ///< of a pair of ranks
  std::size_t slots = 1;     ///< of a rank
};

/// A message on its way. The reader waits for `turn` to become the number of the message.
struct alignas(128) RingEntry {
  /// A message that is no longer stands in its entry: a header and a few values.
  static constexpr std::size_t kShort = 112;

  std::atomic<std::uint32_t> turn;
  std::uint32_t size;
  std::uint32_t region;  ///< of a longer one: whose slot
  std::uint32_t offset;  ///< from that region's first slot
  std::array<std::byte, kShort> bytes;
};
static_assert(sizeof(RingEntry) == 128);

/// From one writer to one reader. What the reader writes has a cache line of its own, which the
/// writer only reads when the ring seems full.
struct Ring {
  static constexpr std::uint32_t kEntries = 32;

  RingEntry& entry(std::uint32_t number) { return entries[number % kEntries]; }

  alignas(128) std::atomic<std::uint32_t> taken;  ///< messages so far
  std::array<RingEntry, kEntries> entries;
};

/// How many readers a slot has: it may be written again when there are none.
struct alignas(64) SlotReaders {
  std::atomic<std::uint32_t> count;
};

/// How a region begins.
struct alignas(64) RegionHeader {
  std::array<std::byte, 16> nonce;
  std::atomic<std::uint32_t> left;      ///< its rank has ended in good order
  std::atomic<std::uint32_t> starving;  ///< its sends wait for slots or rings: readers make room
};

static_assert(std::atomic<std::uint32_t>::is_always_lock_free, "else not across processes");

/// One rank's region, as one process sees it. New memory is all zeros, which is how all begins.
class Region {
 public:
  static std::size_t bytes(const RegionShape& shape) {
    return slots_at(shape) + shape.slots * kLongestMessage;
  }

  Region(Mapping mapping, const RegionShape& shape) : mapping_(std::move(mapping)), shape_(shape) {}

  RegionHeader& header() const { return at<RegionHeader>(0); }
  SlotReaders& readers(std::size_t slot) const {
    return at<SlotReaders>(kReadersAt + slot * sizeof(SlotReaders));
  }
  Ring& ring(int reader, int channel) const {
    const std::size_t number =
        static_cast<std::size_t>(reader) * shape_.channels + static_cast<std::size_t>(channel);
    return at<Ring>(rings_at(shape_) + number * sizeof(Ring));
  }
  std::byte* slots() const { return mapping_.data() + slots_at(shape_); }
  std::size_t slots_bytes() const { return shape_.slots * kLongestMessage; }

 private:
  static constexpr std::size_t kPage = 4096;
  static constexpr std::size_t kReadersAt = sizeof(RegionHeader);

  static std::size_t round_up(std::size_t offset, std::size_t to) {
    return (offset + to - 1) / to * to;
  }
  static std::size_t rings_at(const RegionShape& shape) {
    return round_up(kReadersAt + shape.slots * sizeof(SlotReaders), alignof(Ring));
  }
  static std::size_t slots_at(const RegionShape& shape) {
    return round_up(rings_at(shape) + shape.ranks * shape.channels * sizeof(Ring), kPage);
  }
  template <typename T>
  T& at(std::size_t offset) const {
    return *reinterpret_cast<T*>(mapping_.data() + offset);
  }

  Mapping mapping_;
  RegionShape shape_;
};

}  // namespace cpdcomm::transport
