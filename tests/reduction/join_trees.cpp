#include "reduction/join_trees.hpp"

#include <algorithm>
#include <numeric>

namespace cpdcomm::testing {
namespace {

using reduction::Host;
using reduction::Input;
using reduction::Join;
using reduction::Range;
using reduction::Reduction;
using reduction::Slice;
using Bytes = std::vector<std::byte>;

struct Message {
  Bytes bytes;
  Payload payload;
  int parts;
};

std::size_t size_of(const Reduction& reduction, Slice slice, Content content) {
  std::size_t size = 0;
  for (const Range& range : slice) size += reduction.bytes(range.tensor, range.count, content);
  return size;
}

/// One tree: messages that nobody has joined yet, and who comes next.
class Tree {
 public:
  Tree(Ranks ranks, Slice slice, Random& random) : ranks_(ranks), slice_(slice), random_(random) {}

  JoinTree grow(bool keeps) {
    std::vector<std::size_t> order(ranks_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::shuffle(order.begin(), order.end(), random_);
    for (std::size_t i = 0; i + 1 < order.size(); ++i) add_rank(*ranks_[order[i]]);
    return {finish(*ranks_[order.back()], keeps), order.back()};
  }

 private:
  /// Takes some messages out of those that wait, or all.
  std::vector<Message> take(bool all) {
    std::shuffle(waiting_.begin(), waiting_.end(), random_);
    const auto waiting = static_cast<std::uint32_t>(waiting_.size());
    const std::size_t left = all ? 0 : waiting - random_.below(waiting + 1);
    std::vector<Message> taken(std::make_move_iterator(waiting_.begin() + static_cast<long>(left)),
                               std::make_move_iterator(waiting_.end()));
    waiting_.resize(left);
    return taken;
  }

  std::size_t any_place(std::size_t inputs) {
    return random_.below(static_cast<std::uint32_t>(inputs) + 1);
  }

  /// What a rank does with what it took: some single parts are of its host.
  struct Inputs {
    std::vector<Message> messages;
    std::vector<Input> inside;
    std::vector<Input> across;
    int parts = 1;
  };

  Inputs inputs_of(std::vector<Message> messages) {
    Inputs inputs{std::move(messages), {}, {}};
    for (const Message& message : inputs.messages) {
      const bool single = message.payload == Payload::part && message.parts == 1;
      auto& list = single && random_.below(2) == 0 ? inputs.inside : inputs.across;
      list.push_back({message.bytes.data(), message.payload, message.parts});
      inputs.parts += message.parts;
    }
    return inputs;
  }

  Host host_of(const Inputs& inputs) { return {inputs.inside, any_place(inputs.inside.size())}; }
  Join join_of(const Inputs& inputs) {
    return {inputs.across, any_place(inputs.across.size()), host_of(inputs)};
  }

  void add_rank(Reduction& rank) {
    const Inputs inputs = inputs_of(take(false));
    const bool part = inputs.across.empty();
    Message out{{}, part ? Payload::part : Payload::partial, inputs.parts};
    const Leg leg =
        inputs.parts == 1 && random_.below(2) == 0 ? Leg::inside_host : Leg::across_hosts;
    const Content content{out.payload, out.parts, leg};
    out.bytes.resize(size_of(rank, slice_, content));
    if (part) {
      rank.encode_part(slice_, host_of(inputs), leg, out.bytes.data());
    } else {
      rank.join(slice_, join_of(inputs), content, out.bytes.data());
    }
    waiting_.push_back(std::move(out));
  }

  Bytes finish(Reduction& rank, bool keeps) {
    const Inputs inputs = inputs_of(take(true));
    if (keeps) {
      rank.keep(slice_, join_of(inputs));
      return {};
    }
    const Content content{Payload::result, inputs.parts};
    Bytes result(size_of(rank, slice_, content));
    rank.join(slice_, join_of(inputs), content, result.data());
    return result;
  }

  Ranks ranks_;
  Slice slice_;
  Random& random_;
  std::vector<Message> waiting_;
};

}  // namespace

JoinTree join_at_random(Ranks ranks, Slice slice, Random& random, bool keeps) {
  return Tree(ranks, slice, random).grow(keeps);
}

std::vector<std::vector<Range>> cut_at_random(const Reduction& reduction, Random& random) {
  std::vector<std::vector<Range>> slices(1);
  for (std::size_t tensor = 0; tensor < reduction.tensors(); ++tensor) {
    const std::size_t count = reduction.count(tensor);
    for (std::size_t first = 0; first < count;) {
      const std::size_t most = reduction.alignment(tensor) * (1 + random.below(60));
      const std::size_t size = std::min(most, count - first);
      slices.back().push_back({tensor, first, size});
      first += size;
      if (first < count || random.below(2) == 0) slices.emplace_back();
    }
  }
  return slices;
}

std::vector<std::byte> reduce_at_random(Ranks ranks, Random& random) {
  Bytes results;
  for (const auto& slice : cut_at_random(*ranks[0], random)) {
    const JoinTree tree = join_at_random(ranks, slice, random);
    for (Reduction* const rank : ranks) rank->deliver(slice, tree.result.data());
    results.insert(results.end(), tree.result.begin(), tree.result.end());
  }
  return results;
}

}  // namespace cpdcomm::testing
