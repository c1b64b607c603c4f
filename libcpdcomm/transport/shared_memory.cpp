#include "transport/shared_memory.hpp"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include "cpdcomm/error.hpp"

namespace cpdcomm::transport {
namespace {

constexpr std::uint64_t kShortToken = std::uint64_t{1} << 62;  // with its number
constexpr std::uint64_t kLongToken = std::uint64_t{1} << 61;   // likewise
constexpr unsigned kRoundsPerLook = 1024;
constexpr auto kLookEvery = std::chrono::seconds(1);

/// Whether a process has ended and waits for its parent to ask how.
bool is_zombie(std::int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string stat;
  std::getline(file, stat);
  // "pid (name) state ...", where the name may hold anything.
  const std::size_t end = stat.rfind(')');
  return end != std::string::npos && stat.compare(end, 3, ") Z") == 0;
}

bool is_gone(std::int64_t pid) {
  if (pid == 0) return false;
  return (kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH) || is_zombie(pid);
}

}  // namespace

std::size_t SharedMemory::given_slots(std::size_t ranks) {
  return std::min<std::size_t>(4 * (ranks + 1), 128);
}

std::size_t SharedMemory::copy_slots(std::size_t ranks) {
  return std::min<std::size_t>(8 * ranks, 64);
}

SharedMemory::SharedMemory(int rank, std::vector<Region> regions, const RegionShape& shape,
                           std::size_t copies, std::vector<Neighbour> neighbours)
    : rank_(rank),
      shape_(shape),
      first_copy_(shape.slots - copies),
      regions_(std::move(regions)),
      neighbours_(std::move(neighbours)),
      gone_(regions_.size()),
      closed_(regions_.size()),
      next_look_(std::chrono::steady_clock::now() + kLookEvery) {
  const Region& own = regions_[static_cast<std::size_t>(rank_)];
  for (int peer = 0; peer < size(); ++peer) {
    const Region& theirs = regions_[static_cast<std::size_t>(peer)];
    for (int channel = 0; channel < static_cast<int>(shape_.channels); ++channel) {
      outgoing_.push_back({.ring = &own.ring(peer, channel)});
      incoming_.push_back({.ring = &theirs.ring(rank_, channel)});
    }
  }
}

SharedMemory::~SharedMemory() {
  put_waiting();  // of calls that failed; what still finds no place is lost with them
  for (Outgoing& out : outgoing_) {
    for (const Waiting& message : out.waiting) let_go(message);
  }
  waiting_ = 0;
  say_starving();
  for (Incoming& in : incoming_) {
    for (const Arrival& arrival : in.early) release(arrival);
  }
  const Region& own = regions_[static_cast<std::size_t>(rank_)];
  // Released: whoever sees it sees all that was sent, and what was taken last.
  own.header().left.store(1, std::memory_order_release);
}

std::byte* SharedMemory::allocate(std::size_t bytes) {
  if (bytes > kLongestMessage || given_ == first_copy_) return nullptr;
  return regions_[static_cast<std::size_t>(rank_)].slots() + given_++ * kLongestMessage;
}

std::size_t SharedMemory::line(int peer, int channel) const {
  if (channel < 0 || static_cast<std::size_t>(channel) >= shape_.channels) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("channel {} of shared memory; 0 to {} are there", channel,
                            shape_.channels - 1));
  }
  return static_cast<std::size_t>(peer) * shape_.channels + static_cast<std::size_t>(channel);
}

std::optional<SharedMemory::Place> SharedMemory::place_of(std::span<const std::byte> bytes) const {
  const auto begin = reinterpret_cast<std::uintptr_t>(bytes.data());
  for (std::size_t i = 0; i < regions_.size(); ++i) {
    const auto slots = reinterpret_cast<std::uintptr_t>(regions_[i].slots());
    if (begin >= slots && begin - slots < regions_[i].slots_bytes()) {
      return Place{static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(begin - slots)};
    }
  }
  return std::nullopt;
}

SlotReaders& SharedMemory::readers_at(Place place) const {
  return regions_[place.region].readers(place.offset / kLongestMessage);
}

Request SharedMemory::start_send(int peer, int channel, std::span<const std::byte> bytes) {
  Outgoing& out = outgoing_[line(peer, channel)];
  if (bytes.size() > kLongestMessage) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("a message of {} bytes; at most {} go", bytes.size(), kLongestMessage));
  }
  if (closed_[static_cast<std::size_t>(peer)]) return add_request({.placed = true});
  Sent sent;
  const bool is_short = bytes.size() <= RingEntry::kShort;
  const auto place = is_short ? std::nullopt : place_of(bytes);
  if (place) {
    // At once, even if the message has to wait: from now on the slot must stay as it is.
    SlotReaders& readers = readers_at(*place);
    readers.count.fetch_add(1, std::memory_order_relaxed);
    // A peer's slot is kept by this count; to wait for its end would be to wait for ourselves.
    if (static_cast<int>(place->region) == rank_) sent.readers = &readers;
  }
  const Waiting message{add_request(sent), bytes, place};
  if (!out.waiting.empty() || !put(out, message)) {
    out.waiting.push_back(message);
    ++waiting_;
    say_starving();
  }
  return message.request;
}

Request SharedMemory::add_request(const Sent& sent) {
  if (free_requests_.empty()) {
    sends_.push_back(sent);
    return static_cast<Request>(sends_.size() - 1);
  }
  const Request request = free_requests_.back();
  free_requests_.pop_back();
  sends_[request] = sent;
  return request;
}

/// Puts a message into its ring; false when that is full, or there is no slot to copy it to.
bool SharedMemory::put(Outgoing& out, const Waiting& message) {
  if (out.sent - out.taken == Ring::kEntries) {
    // Acquired: the reader has done with the entry that is written next.
    out.taken = out.ring->taken.load(std::memory_order_acquire);
    if (out.sent - out.taken == Ring::kEntries) return false;
  }
  RingEntry& entry = out.ring->entry(out.sent);
  if (!fill(entry, message)) return false;
  // Released: who sees the turn sees the entry, the message and its count of readers.
  entry.turn.store(++out.sent, std::memory_order_release);
  sends_[message.request].placed = true;
  return true;
}

bool SharedMemory::fill(RingEntry& entry, const Waiting& message) {
  const auto bytes = message.bytes;
  entry.size = static_cast<std::uint32_t>(bytes.size());
  if (bytes.size() <= RingEntry::kShort) {
    std::ranges::copy(bytes, entry.bytes.begin());
    return true;
  }
  const auto place = message.place ? message.place : copy(bytes);
  if (!place) return false;
  entry.region = place->region;
  entry.offset = place->offset;
  return true;
}

/// Copies into a free slot, if there is one, and counts its reader.
std::optional<SharedMemory::Place> SharedMemory::copy(std::span<const std::byte> bytes) {
  const Region& own = regions_[static_cast<std::size_t>(rank_)];
  const std::size_t copies = shape_.slots - first_copy_;
  for (std::size_t tried = 0; tried < copies; ++tried) {
    const std::size_t slot = first_copy_ + next_copy_;
    next_copy_ = (next_copy_ + 1) % copies;
    SlotReaders& readers = own.readers(slot);
    // Acquired: readers have read what was there before it is written over.
    if (readers.count.load(std::memory_order_acquire) != 0) continue;
    std::memcpy(own.slots() + slot * kLongestMessage, bytes.data(), bytes.size());
    readers.count.store(1, std::memory_order_relaxed);
    return Place{static_cast<std::uint32_t>(rank_),
                 static_cast<std::uint32_t>(slot * kLongestMessage)};
  }
  return std::nullopt;
}

bool SharedMemory::done(Request request) {
  const Sent& sent = sends_[request];
  // Acquired: readers have read the slot before it is written again.
  if (!sent.placed ||
      (sent.readers != nullptr && sent.readers->count.load(std::memory_order_acquire) != 0)) {
    return false;
  }
  free_requests_.push_back(request);
  return true;
}

bool SharedMemory::take(int peer, int channel, Arrival& arrival) {
  Incoming& in = incoming_[line(peer, channel)];
  if (in.early.empty()) return read(in, arrival);
  arrival = in.early.front();
  in.early.pop_front();
  return true;
}

bool SharedMemory::read(Incoming& in, Arrival& arrival) {
  const RingEntry& entry = in.ring->entry(in.taken);
  if (entry.turn.load(std::memory_order_acquire) != in.taken + 1) return false;
  if (entry.size <= RingEntry::kShort) {
    keep_short(entry, arrival);
  } else if (entry.offset / kLongestMessage >= first_copy_) {
    keep_long(entry, arrival);
  } else {
    arrival = {regions_[entry.region].slots() + entry.offset, entry.size,
               std::uint64_t{entry.region} << 32 | entry.offset};
  }
  // Released: the entry has been read and may be written again.
  in.ring->taken.store(++in.taken, std::memory_order_release);
  return true;
}

/// Slots for copies are few, and messages may be held until others come that wait for such a slot.
void SharedMemory::keep_long(const RingEntry& entry, Arrival& arrival) {
  if (free_longs_.empty()) {
    free_longs_.push_back(static_cast<std::uint32_t>(longs_.size()));
    longs_.push_back(std::make_unique_for_overwrite<std::byte[]>(kLongestMessage));
  }
  const std::uint32_t number = free_longs_.back();
  free_longs_.pop_back();
  std::memcpy(longs_[number].get(), regions_[entry.region].slots() + entry.offset, entry.size);
  readers_at({entry.region, entry.offset}).count.fetch_sub(1, std::memory_order_release);
  arrival = {longs_[number].get(), entry.size, kLongToken | number};
}

/// What a starving peer waits for may be that this rank takes what it is not waiting for.
void SharedMemory::make_room(int peer) {
  const RegionHeader& header = regions_[static_cast<std::size_t>(peer)].header();
  if (header.starving.load(std::memory_order_relaxed) == 0) return;
  for (int channel = 0; channel < static_cast<int>(shape_.channels); ++channel) {
    Incoming& in = incoming_[line(peer, channel)];
    Arrival arrival;
    while (read(in, arrival)) in.early.push_back(arrival);
  }
}

bool SharedMemory::left(std::size_t peer) const {
  return regions_[peer].header().left.load(std::memory_order_acquire) != 0;
}

/// A send that finds no place: nobody will read its slot for it.
void SharedMemory::let_go(const Waiting& message) {
  if (message.place) readers_at(*message.place).count.fetch_sub(1, std::memory_order_release);
  sends_[message.request].placed = true;
}

/// What a peer that has ended did not take is not waited for.
void SharedMemory::take_back(int peer) {
  closed_[static_cast<std::size_t>(peer)] = true;
  for (int channel = 0; channel < static_cast<int>(shape_.channels); ++channel) {
    Outgoing& out = outgoing_[line(peer, channel)];
    out.taken = out.ring->taken.load(std::memory_order_acquire);
    for (; out.taken != out.sent; ++out.taken) {
      const RingEntry& entry = out.ring->entry(out.taken);
      if (entry.size <= RingEntry::kShort) continue;
      readers_at({entry.region, entry.offset}).count.fetch_sub(1, std::memory_order_release);
    }
    for (const Waiting& message : out.waiting) let_go(message);
    waiting_ -= out.waiting.size();
    out.waiting.clear();
  }
  say_starving();
}

void SharedMemory::say_starving() {
  regions_[static_cast<std::size_t>(rank_)].header().starving.store(waiting_ != 0 ? 1 : 0,
                                                                    std::memory_order_relaxed);
}

/// Entries are written again in their order, but messages are released in any.
void SharedMemory::keep_short(const RingEntry& entry, Arrival& arrival) {
  if (free_shorts_.empty()) {
    free_shorts_.push_back(static_cast<std::uint32_t>(shorts_.size()));
    shorts_.push_back(std::make_unique<ShortMessage>());
  }
  const std::uint32_t number = free_shorts_.back();
  free_shorts_.pop_back();
  std::copy_n(entry.bytes.begin(), entry.size, shorts_[number]->begin());
  arrival = {shorts_[number]->data(), entry.size, kShortToken | number};
}

void SharedMemory::release(const Arrival& arrival) {
  if ((arrival.token & kShortToken) != 0) {
    free_shorts_.push_back(static_cast<std::uint32_t>(arrival.token));
    return;
  }
  if ((arrival.token & kLongToken) != 0) {
    free_longs_.push_back(static_cast<std::uint32_t>(arrival.token));
    return;
  }
  const Place place{static_cast<std::uint32_t>(arrival.token >> 32),
                    static_cast<std::uint32_t>(arrival.token)};
  // Released: the message has been read.
  readers_at(place).count.fetch_sub(1, std::memory_order_release);
}

void SharedMemory::progress() {
  for (int peer = 0; peer < size(); ++peer) {
    const auto i = static_cast<std::size_t>(peer);
    make_room(peer);
    if (!closed_[i] && (gone_[i] || left(i))) take_back(peer);
  }
  if (waiting_ != 0) put_waiting();
  if (++rounds_ % kRoundsPerLook == 0) look_for_the_dead();
}

/// Each time another line is the first, so that none takes all the slots.
void SharedMemory::put_waiting() {
  if (waiting_ == 0) return;
  first_line_ = (first_line_ + 1) % outgoing_.size();
  for (std::size_t i = 0; i < outgoing_.size(); ++i) {
    Outgoing& out = outgoing_[(first_line_ + i) % outgoing_.size()];
    while (!out.waiting.empty() && put(out, out.waiting.front())) {
      out.waiting.pop_front();
      --waiting_;
    }
  }
  say_starving();
}

void SharedMemory::look_for_the_dead() {
  const auto now = std::chrono::steady_clock::now();
  if (now < next_look_) return;
  next_look_ = now + kLookEvery;
  for (std::size_t peer = 0; peer < regions_.size(); ++peer) {
    // In this order: it may leave in good order between two looks.
    if (!gone_[peer]) gone_[peer] = is_gone(neighbours_[peer].pid) && !left(peer);
  }
}

std::optional<std::string> SharedMemory::end_of(int peer) {
  const auto i = static_cast<std::size_t>(peer);
  const Neighbour& neighbour = neighbours_[i];
  if (left(i)) return has_left(neighbour.rank);
  if (!gone_[i]) return std::nullopt;
  return fmt::format("rank {} (process {}) has ended without a word", neighbour.rank,
                     neighbour.pid);
}

}  // namespace cpdcomm::transport
