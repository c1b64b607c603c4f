#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "transport/shared_region.hpp"
#include "transport/transport.hpp"

namespace cpdcomm::transport {

/// A rank of this host, as its neighbours know it.
struct Neighbour {
  int rank = 0;          ///< in the whole communicator, for messages to people
  std::int64_t pid = 0;  ///< 0: not visible from here
};

/// Messages between the ranks of one host, which are numbered from 0 here.
///
/// A message lies in a slot of its sender's region, and readers read it there. What is sent from a
/// slot that allocate() has given, or that was taken from a peer, is not copied; other memory is
/// copied into a slot. Short messages are copied, too, and need none. Where a ring is full or no
/// slot is free, a send waits in this process for progress().
///
/// A send from own slots is done when no reader is left of anything sent from that slot, so what
/// comes back to its sender must not be sent on from there; any other send is done when it is in
/// its ring. Then a sender may end: its readers keep its region. What a reader has not taken when
/// it ends is taken back by its sender. Tokens are below 2^63.
class SharedMemory final : public Transport {
 public:
  /// Messages that a rank may have under way: of 4 segments, one to each neighbour and one to all;
  /// beside them, for what lies elsewhere, 8 for each rank. Never more than 128 and 64.
  static std::size_t given_slots(std::size_t ranks);
  static std::size_t copy_slots(std::size_t ranks);

  /// @param regions  of all ranks of the host
  /// @param copies   slots, the last ones of a region, that allocate() does not give
  SharedMemory(int rank, std::vector<Region> regions, const RegionShape& shape, std::size_t copies,
               std::vector<Neighbour> neighbours);
  ~SharedMemory() override;

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(regions_.size()); }
  int host_of(int) const override { return 0; }

  std::byte* allocate(std::size_t bytes) override;
  bool done(Request request) override;
  /// Peers have mapped the memory.
  bool outlives_rank(Request /*request*/) const override { return true; }
  void expect(int, int) override {}
  bool take(int peer, int channel, Arrival& arrival) override;
  void release(const Arrival& arrival) override;
  void progress() override;
  /// That a process is gone without a word is noticed within a second or two.
  std::optional<std::string> end_of(int peer) override;

  bool sends_wait_for_peers() const override { return true; }
  void keep_address() override {}  // no two objects have the same name
  void abandon() override {}

 private:
  /// Where a message lies.
  struct Place {
    std::uint32_t region;
    std::uint32_t offset;
  };
  using ShortMessage = std::array<std::byte, RingEntry::kShort>;
  /// A send that is not over.
  struct Sent {
    bool placed = false;                   // in its ring, or nobody is there to read it
    const SlotReaders* readers = nullptr;  // of its slot, where that is our own
  };
  /// A send that is not in its ring.
  struct Waiting {
    Request request;
    std::span<const std::byte> bytes;
    std::optional<Place> place;  // none: to be copied
  };
  /// Messages to one peer on one channel.
  struct Outgoing {
    Ring* ring = nullptr;
    std::uint32_t sent = 0;
    std::uint32_t taken = 0;  // at least so many
    std::deque<Waiting> waiting = {};
  };
  /// Messages from one peer on one channel.
  struct Incoming {
    Ring* ring = nullptr;
    std::uint32_t taken = 0;
    std::deque<Arrival> early = {};  // out of the ring, to make room for its starving sender
  };
  Request start_send(int peer, int channel, std::span<const std::byte> bytes) override;
  Request add_request(const Sent& sent);
  std::size_t line(int peer, int channel) const;
  std::optional<Place> place_of(std::span<const std::byte> bytes) const;
  SlotReaders& readers_at(Place place) const;
  void keep_short(const RingEntry& entry, Arrival& arrival);
  bool put(Outgoing& line, const Waiting& message);
  bool fill(RingEntry& entry, const Waiting& message);
  std::optional<Place> copy(std::span<const std::byte> bytes);
  void put_waiting();
  void let_go(const Waiting& message);
  bool left(std::size_t peer) const;
  void take_back(int peer);
  void say_starving();
  void make_room(int peer);
  bool read(Incoming& in, Arrival& arrival);
  void keep_long(const RingEntry& entry, Arrival& arrival);
  void look_for_the_dead();

  const int rank_;
  const RegionShape shape_;
  const std::size_t first_copy_;  // slot
  std::vector<Region> regions_;
  std::vector<Neighbour> neighbours_;
  std::vector<Outgoing> outgoing_;  // by peer and channel
  std::vector<Incoming> incoming_;
  std::vector<Sent> sends_;  // by request
  std::vector<Request> free_requests_;
  std::size_t given_ = 0;                              // slots
  std::size_t next_copy_ = 0;                          // of the slots for copies
  std::size_t waiting_ = 0;                            // sends
  std::size_t first_line_ = 0;                         // whose waiting sends are looked at first
  std::vector<std::unique_ptr<ShortMessage>> shorts_;  // taken
  std::vector<std::uint32_t> free_shorts_;
  std::vector<std::unique_ptr<std::byte[]>> longs_;  // taken out of slots for copies
  std::vector<std::uint32_t> free_longs_;
  std::vector<bool> gone_;    // by peer: its process, without a word
  std::vector<bool> closed_;  // by peer: nothing is sent there any more
  unsigned rounds_ = 0;
  std::chrono::steady_clock::time_point next_look_;
};

}  // namespace cpdcomm::transport
