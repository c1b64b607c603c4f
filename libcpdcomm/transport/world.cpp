#include "cpdcomm/world.hpp"

#include "cpdcomm/bootstrap.hpp"
#include "transport/module.hpp"

namespace cpdcomm {

World World::load(const std::string& network) { return World(transport::load_module(network)); }
bool World::is_loaded(const std::string& network) { return transport::is_loaded(network); }

int World::rank() const { return module_->world_rank(); }
int World::size() const { return module_->world_size(); }

Communicator World::connect(std::span<const int> ranks, int tag,
                            const CommunicatorOptions& options) const {
  return Communicator(module_->open(ranks, tag, options), options);
}

std::vector<std::vector<std::byte>> World::allgather(std::span<const std::byte> mine) const {
  return module_->allgather(mine);
}

void World::shutdown(bool clean) const { module_->shutdown(clean); }

void require_network(const std::string& network) { transport::require_module(network); }

Communicator make_communicator(const std::string& network, Bootstrap& bootstrap,
                               const CommunicatorOptions& options) {
  return Communicator(transport::connect_ranks(network, bootstrap, options), options);
}

}  // namespace cpdcomm
