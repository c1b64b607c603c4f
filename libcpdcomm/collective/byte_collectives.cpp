#include "collective/byte_collectives.hpp"

#include <fmt/format.h>

#include <functional>
#include <numeric>

#include "collective/layout.hpp"
#include "reduction/plain.hpp"

namespace cpdcomm::collective {
namespace {

using Bytes = std::span<std::byte>;
using ConstBytes = std::span<const std::byte>;
using Milliseconds = std::chrono::milliseconds;
using reduction::PlainTensor;
using Sizes = std::span<const std::size_t>;

[[noreturn]] void invalid(const std::string& message) {
  throw Error(ErrorCode::invalid_argument, message);
}

Call call_of_bytes(Collective collective, std::size_t bytes, int root = 0) {
  Call call;
  call.collective = collective;
  call.values = bytes;
  call.options_hash = static_cast<std::uint32_t>(root);
  return call;
}

/// @param bytes  that the caller sees
template <typename Body>
Report make_call(Session& session, const Call& call, std::size_t bytes, Milliseconds timeout,
                 Body&& body) {
  Report report;
  report.logical_bytes = bytes;
  session.call(
      call, [&] { return session.plan(); }, timeout, report, body);
  return report;
}

/// Bytes travel as they are: nothing is ever combined, so the operator does not matter.
reduction::Plain as_they_are(std::vector<PlainTensor> tensors) {
  return {std::move(tensors), ReduceOp::bit_or, 1};
}

/// Runs a schedule whose chunk c is piece c.
void run_pieces(Session& session, Run& run, const schedule::Schedule& schedule,
                std::vector<PlainTensor> pieces) {
  auto plain = as_they_are(std::move(pieces));
  const Layout layout = Layout::by_tensor(plain, 1, run.plan.segment_bytes);
  session.run(run, {{schedule, layout, plain}});
}

std::size_t ranks_of(const Session& session) { return static_cast<std::size_t>(session.size()); }

void check_root(const Session& session, int root) {
  if (root >= 0 && root < session.size()) return;
  invalid(fmt::format("root is {}; the ranks are 0 to {}", root, session.size() - 1));
}

void check_room(const Session& session, const char* what, std::size_t one, std::size_t all) {
  if (all == ranks_of(session) * one) return;
  invalid(fmt::format("{} of {} bytes for each of {} ranks needs room for {}, not {}", what, one,
                      session.size(), ranks_of(session) * one, all));
}

/// What is read must not be written meanwhile.
void check_apart(const char* what, ConstBytes a, ConstBytes b) {
  const std::less<const std::byte*> before;
  if (a.empty() || b.empty() || !before(b.data(), a.data() + a.size()) ||
      !before(a.data(), b.data() + b.size())) {
    return;
  }
  invalid(fmt::format("the buffers of {} overlap", what));
}

PlainTensor piece(const std::byte* from, std::byte* to, std::size_t size) {
  return {from, to, size, DataType::uint8};
}

/// All ranks' part sizes of an alltoall, in two squares.
class SizeTable {
 public:
  SizeTable(Session& session, Run& run, Sizes to_sizes, Sizes from_sizes)
      : ranks_(ranks_of(session)), sizes_(2 * ranks_ * ranks_) {
    std::vector<std::uint64_t> mine(to_sizes.begin(), to_sizes.end());
    mine.insert(mine.end(), from_sizes.begin(), from_sizes.end());
    const auto from = std::as_bytes(std::span(mine));
    const auto to = std::as_writable_bytes(std::span(sizes_));
    std::vector<PlainTensor> pieces;
    for (std::size_t rank = 0; rank < ranks_; ++rank) {
      pieces.push_back(piece(from.data(), to.data() + rank * from.size(), from.size()));
    }
    run_pieces(session, run, session.schedules().allgather(), std::move(pieces));
  }

  /// @throws Error mismatch that names the first pair of ranks that differ
  void check() const {
    for (std::size_t from = 0; from < ranks_; ++from) {
      for (std::size_t to = 0; to < ranks_; ++to) {
        const std::uint64_t expected = sizes_[2 * ranks_ * to + ranks_ + from];
        if (sent(from, to) == expected) continue;
        throw Error(ErrorCode::mismatch,
                    fmt::format("alltoall: rank {} has {} bytes for rank {}, which expects {}",
                                from, sent(from, to), to, expected));
      }
    }
  }

  std::uint64_t sent(std::size_t from, std::size_t to) const {
    return sizes_[2 * ranks_ * from + to];
  }

 private:
  std::size_t ranks_;
  std::vector<std::uint64_t> sizes_;  // by rank: what it sends to each, what it expects of each
};

/// The pieces of an alltoall: those of other pairs of ranks have a size and no place.
/// @param size_of_pair  bytes from one rank to another
template <typename SizeOfPair>
std::vector<PlainTensor> pieces_of_pairs(const Session& session, const std::byte* to_all,
                                         std::byte* from_all, SizeOfPair&& size_of_pair) {
  const std::size_t ranks = ranks_of(session);
  const auto self = static_cast<std::size_t>(session.rank());
  std::vector<PlainTensor> pieces;
  for (std::size_t from = 0; from < ranks; ++from) {
    for (std::size_t to = 0; to < ranks; ++to) {
      const std::size_t size = size_of_pair(from, to);
      PlainTensor& made = pieces.emplace_back(piece(nullptr, nullptr, size));
      if (from == self) {
        made.source = to_all;
        to_all += size;
      }
      if (to == self) {
        made.destination = from_all;
        from_all += size;
      }
    }
  }
  return pieces;
}

void check_sizes(const Session& session, const char* what, Sizes sizes, std::size_t bytes) {
  const std::size_t sum = std::accumulate(sizes.begin(), sizes.end(), std::size_t{0});
  if (sizes.size() == ranks_of(session) && sum == bytes) return;
  invalid(
      fmt::format("alltoall has {} sizes of what it {}, {} bytes in all; it takes {}, of {} "
                  "bytes in all",
                  sizes.size(), what, sum, session.size(), bytes));
}

}  // namespace

Report broadcast(Session& session, Bytes bytes, int root, Milliseconds timeout) {
  const Call call = call_of_bytes(Collective::broadcast, bytes.size(), root);
  return make_call(session, call, bytes.size(), timeout, [&](Run& run) {
    check_root(session, root);
    auto plain = as_they_are({piece(bytes.data(), bytes.data(), bytes.size())});
    const Layout layout = Layout::balanced(plain, 1, 1, run.plan.segment_bytes);
    session.run(run, {{session.schedules().broadcast(root), layout, plain}});
  });
}

Report allgather(Session& session, ConstBytes mine, Bytes all, Milliseconds timeout) {
  const Call call = call_of_bytes(Collective::allgather, mine.size());
  return make_call(session, call, all.size(), timeout, [&](Run& run) {
    check_room(session, "allgather", mine.size(), all.size());
    std::vector<PlainTensor> pieces;
    for (std::size_t i = 0; i < ranks_of(session); ++i) {
      pieces.push_back(piece(mine.data(), all.data() + i * mine.size(), mine.size()));
    }
    run_pieces(session, run, session.schedules().allgather(), std::move(pieces));
  });
}

Report gather(Session& session, ConstBytes mine, Bytes all, int root, Milliseconds timeout) {
  const Call call = call_of_bytes(Collective::gather, mine.size(), root);
  return make_call(session, call, mine.size(), timeout, [&](Run& run) {
    check_root(session, root);
    const bool is_root = session.rank() == root;
    check_room(session, "gather", is_root ? mine.size() : 0, all.size());
    std::vector<PlainTensor> pieces;
    for (std::size_t i = 0; i < ranks_of(session); ++i) {
      std::byte* const place = is_root ? all.data() + i * mine.size() : nullptr;
      pieces.push_back(piece(mine.data(), place, mine.size()));
    }
    run_pieces(session, run, session.schedules().gather(root), std::move(pieces));
  });
}

Report scatter(Session& session, ConstBytes all, Bytes mine, int root, Milliseconds timeout) {
  const Call call = call_of_bytes(Collective::scatter, mine.size(), root);
  return make_call(session, call, mine.size(), timeout, [&](Run& run) {
    check_root(session, root);
    const bool is_root = session.rank() == root;
    check_room(session, "scatter", is_root ? mine.size() : 0, all.size());
    std::vector<PlainTensor> pieces;
    for (std::size_t i = 0; i < ranks_of(session); ++i) {
      const bool own = static_cast<int>(i) == session.rank();
      pieces.push_back(piece(is_root ? all.data() + i * mine.size() : nullptr,
                             own ? mine.data() : nullptr, mine.size()));
    }
    run_pieces(session, run, session.schedules().scatter(root), std::move(pieces));
  });
}

Report alltoall(Session& session, ConstBytes to_all, Bytes from_all, Milliseconds timeout) {
  const Call call = call_of_bytes(Collective::alltoall, to_all.size());
  return make_call(session, call, to_all.size(), timeout, [&](Run& run) {
    const std::size_t one = to_all.size() / ranks_of(session);
    check_room(session, "alltoall", one, to_all.size());
    check_room(session, "alltoall", one, from_all.size());
    check_apart("alltoall", to_all, from_all);
    const auto same = [&](std::size_t, std::size_t) { return one; };
    run_pieces(session, run, session.schedules().alltoall(),
               pieces_of_pairs(session, to_all.data(), from_all.data(), same));
  });
}

Report alltoall(Session& session, ConstBytes to_all, Sizes to_sizes, Bytes from_all,
                Sizes from_sizes, Milliseconds timeout) {
  Call call = call_of_bytes(Collective::alltoall, 0);
  call.options_hash = 1;  // not the one of equal parts
  return make_call(session, call, to_all.size(), timeout, [&](Run& run) {
    check_sizes(session, "sends", to_sizes, to_all.size());
    check_sizes(session, "receives", from_sizes, from_all.size());
    check_apart("alltoall", to_all, from_all);
    const SizeTable table(session, run, to_sizes, from_sizes);
    table.check();
    const auto size = [&](std::size_t from, std::size_t to) { return table.sent(from, to); };
    run_pieces(session, run, session.schedules().alltoall(),
               pieces_of_pairs(session, to_all.data(), from_all.data(), size));
  });
}

Report barrier(Session& session, Milliseconds timeout) {
  return make_call(session, call_of_bytes(Collective::barrier, 0), 0, timeout, [&](Run& run) {
    auto nothing = as_they_are({});
    const schedule::Schedule& schedule =
        session.schedules().allreduce(run.plan.algorithm, run.plan.across);
    const Layout layout = Layout::balanced(nothing, 1, schedule.chunks, run.plan.segment_bytes);
    session.run(run, {{schedule, layout, nothing}});
  });
}

}  // namespace cpdcomm::collective
