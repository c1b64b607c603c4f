#include "collective/byte_collectives.hpp"

#include <fmt/format.h>

#include "collective/layout.hpp"
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
  const auto plan = [&] { return session.plan(); };
  session.call(call, plan, {}, report, [&](Run& run) {
    if (root < 0 || root >= session.size()) {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("root is {}; the ranks are 0 to {}", root, session.size() - 1));
    }
    auto plain = as_they_are({{bytes.data(), bytes.data(), bytes.size(), DataType::uint8}});
    const Layout layout = Layout::balanced(plain, 1, 1, run.plan.segment_bytes);
    session.run(run, {{session.schedules().broadcast(root), layout, plain}});
  });
}

void allgather(Session& session, std::span<const std::byte> mine, std::span<std::byte> all) {
  const auto ranks = static_cast<std::size_t>(session.size());
  Report report;
  const Call call = call_of_bytes(Collective::allgather, mine.size());
  const auto plan = [&] { return session.plan(); };
  session.call(call, plan, {}, report, [&](Run& run) {
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
    auto plain = as_they_are(std::move(tensors));
    const Layout layout = Layout::by_tensor(plain, 1, run.plan.segment_bytes);
    session.run(run, {{session.schedules().allgather(), layout, plain}});
  });
}

void barrier(Session& session) {
  Report report;
  const auto plan = [&] { return session.plan(); };
  session.call(call_of_bytes(Collective::barrier, 0), plan, {}, report, [&](Run& run) {
    auto nothing = as_they_are({});
    const schedule::Schedule& schedule =
        session.schedules().allreduce(run.plan.algorithm, run.plan.across);
    const Layout layout = Layout::balanced(nothing, 1, schedule.chunks, run.plan.segment_bytes);
    session.run(run, {{schedule, layout, nothing}});
  });
}

}  // namespace cpdcomm::collective
