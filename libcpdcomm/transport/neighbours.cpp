#include "transport/neighbours.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
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

/// What a rank says of itself; one that shares nothing says nothing.
struct Card {
  std::array<char, 48> name;
  Nonce nonce;
  std::int64_t pid;
  std::uint64_t pid_space;  // in which the number is valid
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

/// The object that this rank shares, and how others find it.
struct Offer {
  SharedObject object;
  Card card;
};

Offer make_offer() {
  Card card{};
  card.nonce = random_nonce();
  card.pid = getpid();
  card.pid_space = own_pid_space();
  Offer offer{SharedObject::create(card.nonce), card};
  offer.object.name().copy(offer.card.name.data(), offer.card.name.size() - 1);
  return offer;
}

std::optional<Card> read_card(const std::vector<std::byte>& bytes) {
  if (bytes.size() != sizeof(Card)) return std::nullopt;
  Card card;
  std::memcpy(&card, bytes.data(), sizeof card);
  return card;
}

/// The object behind a card, if it can be seen from here: the name alone may be another host's.
std::optional<SharedObject> find(const std::optional<Card>& card) {
  if (!card) return std::nullopt;
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
      : bootstrap_(bootstrap), own_(static_cast<std::size_t>(bootstrap.rank())) {
    shape_.channels = channels;
    if (!wanted) return;
    try {
      offer_ = make_offer();
    } catch (const Error& error) {
      trouble_ = error.what();
    }
  }

  Neighbourhood run() {
    exchange_cards();
    Neighbourhood found;
    found.hosts = exchange_views();
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
  void exchange_cards() {
    std::span<const std::byte> mine;
    if (offer_) mine = std::as_bytes(std::span(&offer_->card, 1));
    for (const auto& answer : bootstrap_.allgather(mine)) cards_.push_back(read_card(answer));
  }

  HostMap exchange_views() {
    std::vector<int> seen;
    for (std::size_t rank = 0; rank < cards_.size(); ++rank) {
      // Whoever cannot be seen does not look.
      objects_.push_back(offer_ && rank != own_ ? find(cards_[rank]) : std::nullopt);
      if (objects_[rank] || rank == own_) seen.push_back(static_cast<int>(rank));
    }
    std::vector<std::vector<int>> all;
    const auto mine = std::as_bytes(std::span(seen));
    for (const auto& answer : bootstrap_.allgather(mine)) all.push_back(ranks_in(answer));
    // Whoever can see it has opened it: from here on nothing is left behind, however we end.
    if (offer_) offer_->object.unlink();
    return map_hosts(all);
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
      offer_->object.grow(bytes);
      for (const int rank : local) {
        const bool own = rank == bootstrap_.rank();
        const auto& object = own ? offer_->object : *objects_[static_cast<std::size_t>(rank)];
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
      const bool visible = card.pid_space != 0 && card.pid_space == offer_->card.pid_space;
      neighbours.push_back({.rank = rank, .pid = visible ? card.pid : 0});
    }
    return std::make_unique<SharedMemory>(place, std::move(regions), shape_, copies_,
                                          std::move(neighbours));
  }

  Bootstrap& bootstrap_;
  std::size_t own_;
  RegionShape shape_;
  std::size_t copies_ = 0;
  std::optional<Offer> offer_;
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
