#include "collective/byte_collectives.hpp"

#include <fmt/format.h>

#include "collective/choose.hpp"
#include "reduction/plain.hpp"

namespace cpdcomm::collective {
namespace {

Call call_of_bytes(Collective collective, std::size_t bytes) {
  Call call;
  call.collective = collective;
  call.values = bytes;
  return call;
}

/// Bytes travel as they are: nothing is ever combined, so the operator does not matter.
reduction::Plain as_they_are(std::vector<reduction::PlainTensor> tensors) {
  return {std::move(tensors), ReduceOp::bit_or, 1};
}

}  // namespace

void broadcast(Session& session, std::span<std::byte> bytes, int root) {
  Call call = call_of_bytes(Collective::broadcast, bytes.size());
  call.options_hash = static_cast<std::uint32_t>(root);
  Report report;
  session.call(call, {}, report, [&](Run& run) {
    if (root < 0 || root >= session.size()) {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("root is {}; the ranks are 0 to {}", root, session.size() - 1));
    }
    run.schedule = schedule::broadcast(session.rank(), session.size(), root);
    auto plain = as_they_are({{bytes.data(), bytes.data(), bytes.size(), DataType::uint8}});
    session.run(run, Layout::balanced(plain, 1, 1, session.segment_bytes()), plain);
  });
}

void allgather(Session& session, std::span<const std::byte> mine, std::span<std::byte> all) {
  const auto ranks = static_cast<std::size_t>(session.size());
  Report report;
  session.call(call_of_bytes(Collective::allgather, mine.size()), {}, report, [&](Run& run) {
    if (all.size() != ranks * mine.size()) {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("allgather of {} bytes from {} ranks needs room for {}, not {}",
                              mine.size(), ranks, ranks * mine.size(), all.size()));
    }
    std::vector<reduction::PlainTensor> tensors;
    for (std::size_t i = 0; i < ranks; ++i) {
      std::byte* place = all.data() + i * mine.size();
      tensors.push_back({mine.data(), place, mine.size(), DataType::uint8});
    }
    run.schedule = schedule::allgather(session.rank(), session.size());
    auto plain = as_they_are(std::move(tensors));
    session.run(run, Layout::by_tensor(plain, session.segment_bytes()), plain);
  });
}

void barrier(Session& session) {
  Report report;
  session.call(call_of_bytes(Collective::barrier, 0), {}, report, [&](Run& run) {
    const Algorithm algorithm = choose(Algorithm::automatic, session.size());
    run.schedule = schedule_of(algorithm, session.rank(), session.size());
    auto nothing = as_they_are({});
    session.run(run, nothing);
  });
}

}  // namespace cpdcomm::collective
