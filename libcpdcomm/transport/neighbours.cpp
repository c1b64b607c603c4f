#include "transport/neighbours.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <numeric>
#include <optional>
#include <random>
#include <type_traits>

#include "cpdcomm/error.hpp"
#include "transport/shared_object.hpp"

namespace cpdcomm::transport {
namespace {

using Nonce = decltype(RegionHeader::nonce);
using Answers = std::vector<std::vector<std::byte>>;

/// What ranks must have in common to be neighbours. Ranks with a /dev/shm each are on hosts of
/// their own, even where they see each other's processes.
struct Place {
  std::array<char, 36> boot;  // of the kernel
  std::uint64_t device;       // of /dev/shm; 0: there is none

  bool operator==(const Place&) const = default;
};

/// What a rank says of itself; one that shares nothing says nothing.
struct Card {
  std::array<char, 48> name;  // of its memory; empty: it has none, which others cannot know
  Nonce nonce;
  std::int64_t pid;
  std::uint64_t pid_space;  // in which the number is valid
  Place place;
};
static_assert(std::is_trivially_copyable_v<Card>);

Nonce random_nonce() {
  std::random_device random;
  Nonce nonce;
  for (std::byte& byte : nonce) byte = static_cast<std::byte>(random());
  return nonce;
}

std::uint64_t own_pid_space() {
  struct stat status {};
  return stat("/proc/self/ns/pid", &status) == 0 ? status.st_ino : 0;
}

Place own_place() {
  Place place{};
  std::ifstream("/proc/sys/kernel/random/boot_id").read(place.boot.data(), place.boot.size());
  struct stat status {};
  if (stat("/dev/shm", &status) == 0) place.device = status.st_dev;
  return place;
}

Card make_card() {
  Card card{};
  card.nonce = random_nonce();
  card.pid = getpid();
  card.pid_space = own_pid_space();
  card.place = own_place();
  return card;
}

std::optional<Card> read_card(const std::vector<std::byte>& bytes) {
  if (bytes.size() != sizeof(Card)) return std::nullopt;
  Card card;
  std::memcpy(&card, bytes.data(), sizeof card);
  return card;
}

/// The object behind a card, if it can be seen from here: the name alone may be another host's.
std::optional<SharedObject> find(const std::optional<Card>& card, const Place& from) {
  if (!card || card->place != from) return std::nullopt;
  auto object = SharedObject::open(card->name.data());
  return object && object->begins_with(card->nonce) ? std::move(object) : std::nullopt;
}

std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::vector<int> ranks_in(const std::vector<std::byte>& bytes) {
  std::vector<int> ranks(bytes.size() / sizeof(int));
  std::memcpy(ranks.data(), bytes.data(), ranks.size() * sizeof(int));
  return ranks;
}

/// One communicator's search for its neighbours, step by step.
class Meeting {
 public:
  Meeting(Bootstrap& bootstrap, bool wanted, std::size_t channels)
      : bootstrap_(bootstrap), own_(static_cast<std::size_t>(bootstrap.rank())), wanted_(wanted) {
    shape_.channels = channels;
  }

  Neighbourhood run() {
    Neighbourhood found;
    found.hosts = look(&SharedObject::create);
    // Between containers that have only /dev/shm in common, or where /proc is shut.
    if (!are_together(found.hosts)) found.hosts = look(&SharedObject::create_named);
    const auto local = found.hosts.ranks_on(found.hosts.host_of[own_]);
    std::vector<Region> regions = map_regions(local);
    const Answers troubles = bootstrap_.allgather(as_bytes(trouble_));
    found.reason = first_trouble(troubles, found.hosts);
    const bool all_well = std::ranges::all_of(
        local, [&](int rank) { return troubles[static_cast<std::size_t>(rank)].empty(); });
    if (local.size() > 1 && all_well) found.memory = share(std::move(regions), local);
    return found;
  }

 private:
  using Create = SharedObject(std::span<const std::byte>);

  /// Offers memory of one kind, and sees whose can be opened.
  HostMap look(Create* create) {
    if (wanted_) offer(create);
    exchange_cards();
    return exchange_views();
  }

  void offer(Create* create) {
    card_ = make_card();
    object_.reset();
    trouble_.clear();
    try {
      object_ = create(card_->nonce);
      object_->name().copy(card_->name.data(), card_->name.size() - 1);
    } catch (const Error& error) {
      trouble_ = error.what();
    }
  }

  void exchange_cards() {
    std::span<const std::byte> mine;
    if (card_) mine = std::as_bytes(std::span(&*card_, 1));
    cards_.clear();
    for (const auto& answer : bootstrap_.allgather(mine)) cards_.push_back(read_card(answer));
  }

  HostMap exchange_views() {
    std::vector<int> seen;
    objects_.clear();
    for (std::size_t rank = 0; rank < cards_.size(); ++rank) {
      // Whoever cannot be seen does not look.
      const bool looks = object_ && rank != own_;
      objects_.push_back(looks ? find(cards_[rank], card_->place) : std::nullopt);
      if (objects_[rank] || rank == own_) seen.push_back(static_cast<int>(rank));
    }
    std::vector<std::vector<int>> all;
    const auto mine = std::as_bytes(std::span(seen));
    for (const auto& answer : bootstrap_.allgather(mine)) all.push_back(ranks_in(answer));
    // Whoever can see it has opened it: from here on nothing is left behind, however we end.
    if (object_) object_->unlink();
    return map_hosts(all);
  }

  /// Whether those who have a /dev/shm in common are said to be on one host: the same on all ranks.
  bool are_together(const HostMap& hosts) const {
    for (std::size_t a = 0; a < cards_.size(); ++a) {
      for (std::size_t b = 0; b < a; ++b) {
        const bool near = cards_[a] && cards_[b] && cards_[a]->place.device != 0 &&
                          cards_[a]->place == cards_[b]->place;
        if (near && hosts.host_of[a] != hosts.host_of[b]) return false;
      }
    }
    return true;
  }

  /// What cannot be had becomes this rank's trouble.
  std::vector<Region> map_regions(const std::vector<int>& local) {
    std::vector<Region> regions;
    if (local.size() < 2) return regions;
    shape_.ranks = local.size();
    copies_ = SharedMemory::copy_slots(local.size());
    shape_.slots = SharedMemory::given_slots(local.size()) + copies_;
    const std::size_t bytes = Region::bytes(shape_);
    try {
      object_->grow(bytes);
      for (const int rank : local) {
        const bool own = rank == bootstrap_.rank();
        const auto& object = own ? *object_ : *objects_[static_cast<std::size_t>(rank)];
        regions.emplace_back(object.map(bytes), shape_);
      }
    } catch (const Error& error) {
      trouble_ = error.what();
    }
    return regions;
  }

  static std::string first_trouble(const Answers& troubles, const HostMap& hosts) {
    for (std::size_t rank = 0; rank < troubles.size(); ++rank) {
      const auto& text = troubles[rank];
      if (text.empty()) continue;
      return fmt::format("rank {}: {}", rank,
                         std::string_view(reinterpret_cast<const char*>(text.data()), text.size()));
    }
    return hosts.reason;
  }

  std::unique_ptr<SharedMemory> share(std::vector<Region> regions, const std::vector<int>& local) {
    std::vector<Neighbour> neighbours;
    int place = 0;
    for (const int rank : local) {
      if (rank == bootstrap_.rank()) place = static_cast<int>(neighbours.size());
      const Card& card = *cards_[static_cast<std::size_t>(rank)];
      const bool visible = card.pid_space != 0 && card.pid_space == card_->pid_space;
      neighbours.push_back({.rank = rank, .pid = visible ? card.pid : 0});
    }
    return std::make_unique<SharedMemory>(place, std::move(regions), shape_, copies_,
                                          std::move(neighbours));
  }

  Bootstrap& bootstrap_;
  std::size_t own_;
  RegionShape shape_;
  std::size_t copies_ = 0;
  bool wanted_;
  std::optional<Card> card_;            // none: nothing is shared
  std::optional<SharedObject> object_;  // none, too, where it cannot be had
  std::string trouble_;
  std::vector<std::optional<Card>> cards_;            // by rank
  std::vector<std::optional<SharedObject>> objects_;  // by rank; none: not seen, or our own
};

}  // namespace

std::vector<int> HostMap::ranks_on(int host) const {
  std::vector<int> ranks;
  for (std::size_t rank = 0; rank < host_of.size(); ++rank) {
    if (host_of[rank] == host) ranks.push_back(static_cast<int>(rank));
  }
  return ranks;
}

int HostMap::count() const { return *std::ranges::max_element(host_of) + 1; }

std::vector<bool> Neighbourhood::beyond(int rank) const {
  std::vector<bool> beyond(hosts.host_of.size(), true);
  beyond[static_cast<std::size_t>(rank)] = false;
  if (!memory) return beyond;
  const int own = hosts.host_of[static_cast<std::size_t>(rank)];
  for (const int peer : hosts.ranks_on(own)) beyond[static_cast<std::size_t>(peer)] = false;
  return beyond;
}

HostMap map_hosts(const std::vector<std::vector<int>>& seen) {
  HostMap map;
  map.host_of.resize(seen.size(), -1);
  int hosts = 0;
  for (std::size_t rank = 0; rank < seen.size(); ++rank) {
    if (map.host_of[rank] < 0) map.host_of[rank] = hosts++;
    for (const int peer : seen[rank]) {
      const auto other = static_cast<std::size_t>(peer);
      map.host_of[other] = map.host_of[rank];
      if (seen[other] == seen[rank]) continue;
      // Seeing is not symmetric, or not transitive.
      std::iota(map.host_of.begin(), map.host_of.end(), 0);
      map.reason = fmt::format("rank {} sees memory of rank {}, which sees that of other ranks",
                               rank, other);
      return map;
    }
  }
  return map;
}

Neighbourhood meet_neighbours(Bootstrap& bootstrap, bool wanted, std::size_t channels) {
  return Meeting(bootstrap, wanted, channels).run();
}

}  // namespace cpdcomm::transport
