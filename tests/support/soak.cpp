#include "support/soak.hpp"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>

#include "cpdcomm/codec.hpp"
#include "support/random.hpp"

namespace cpdcomm::testing {
namespace {

/// What all ranks draw alike.
struct Draw {
  enum class Kind { sum, integers, broadcast, allgather, barrier, halves };
  Kind kind;
  std::uint32_t number;
  std::vector<std::size_t> counts;
  AllreduceOptions options = {};
  DataType type = DataType::fp32;
  DataType source = DataType::fp32;  ///< of the parts
  bool dense = false;                ///< every rank brings a value, else one rank at each place
  bool feeds_back = false;
  int exponent = 0;  ///< of the values
  int input_exponent = 0;
  int output_exponent = 0;

  bool is_delayed() const { return options.scaling.kind == Scaling::Kind::delayed; }
  /// Whether parts are apart from what comes of them.
  bool is_apart() const { return options.emulate_nodes > 1 || source != type; }
};

const char* const kFloats[] = {"fp32", "bf16", "e5m2", "e4m3", "e3m0", "e4m3fn", "e2m1fn"};
const char* const kBlocks[] = {"bfp8:64", "mxfp4", "int4:64", "mxint8"};
const char* const kExact[] = {"bfp8:64", "int4:32", "bfp4:8"};

/// Whether sums of -1, 0 and 1 of 16 parts are values of a format, however they are joined.
bool holds_small_integers(Format wire) {
  return wire.is_fp32() || (wire.is_float() && wire.man_bits() >= 3) ||
         wire.kind() == Format::Kind::bfp;
}

class Drawing {
 public:
  Drawing(std::uint32_t seed, int ranks) : random_(seed), ranks_(ranks) {}

  Draw next(std::uint32_t number) {
    Draw draw{Draw::Kind::sum, number, {size()}};
    const std::uint32_t kind = random_.below(20);
    if (kind < 3) draw.kind = static_cast<Draw::Kind>(1 + kind);
    if (kind == 3) draw.kind = Draw::Kind::barrier;
    if (kind == 4) draw.kind = Draw::Kind::halves;
    if (draw.kind == Draw::Kind::sum) draw_sum(draw);
    if (draw.kind == Draw::Kind::halves) draw_halves(draw);
    if (draw.kind == Draw::Kind::integers) draw.options.algorithm = algorithm();
    draw.options.across = across();
    return draw;
  }

 private:
  std::size_t size() {
    const std::uint32_t limits[] = {1, 9, 100, 3000, 40000};
    return random_.below(limits[random_.below(5)]);
  }
  Algorithm algorithm() {
    const Algorithm all[] = {
        Algorithm::automatic, Algorithm::direct,           Algorithm::ring,
        Algorithm::tree,      Algorithm::halving_doubling, Algorithm::hierarchical};
    return all[random_.below(6)];
  }
  Algorithm across() {
    const Algorithm all[] = {Algorithm::direct, Algorithm::ring, Algorithm::tree,
                             Algorithm::halving_doubling};
    return all[random_.below(4)];
  }

  void draw_sum(Draw& draw) {
    while (random_.below(3) == 0 && draw.counts.size() < 6) draw.counts.push_back(size());
    AllreduceOptions& options = draw.options;
    options.algorithm = algorithm();
    options.op = random_.below(4) == 0 ? ReduceOp::average : ReduceOp::sum;
    if (random_.below(2) == 0) options.inner.reset();
    const std::uint32_t way = random_.below(10);
    if (way == 0) {
      options.wire = Format::parse("sign");
      options.accumulate = Accumulate::majority;
      options.op = ReduceOp::sum;
    } else if (way < 3) {
      draw_exact(options);
    } else if (way < 5) {
      options.wire = Format::parse(kBlocks[random_.below(std::size(kBlocks))]);
    } else {
      draw_floats(options);
      draw_scaling(options);
    }
    draw_values(draw);
    draw_nodes(options);
    draw.feeds_back = random_.below(4) == 0 && options.accumulate != Accumulate::majority &&
                      options.emulate_nodes == 1 && !draw.is_delayed() &&
                      !(options.algorithm == Algorithm::hierarchical && options.inner);
  }

  /// Of sums alone: an average by three ranks would be cast again when it is collected.
  void draw_halves(Draw& draw) {
    const Algorithm all[] = {Algorithm::automatic, Algorithm::direct, Algorithm::ring};
    draw.options.algorithm = all[random_.below(3)];
    if (random_.below(3) == 0) {
      draw.options.wire = Format::parse(kBlocks[random_.below(std::size(kBlocks))]);
    } else {
      draw_floats(draw.options);
    }
    draw_values(draw);
  }

  /// What the values are, and where.
  void draw_values(Draw& draw) {
    const DataType types[] = {DataType::fp32, DataType::fp32, DataType::bf16, DataType::fp16};
    draw.type = types[random_.below(4)];
    draw.source = random_.below(3) == 0 && draw.type == DataType::fp32 ? types[2 + random_.below(2)]
                                                                       : draw.type;
    draw.dense = draw.options.accumulate == Accumulate::majority ||
                 (holds_small_integers(draw.options.wire) && random_.below(2) == 0);
    draw.exponent = static_cast<int>(random_.below(5)) - 2;
    if (random_.below(3) != 0) return;
    draw.input_exponent = static_cast<int>(random_.below(7)) - 3;
    draw.output_exponent = static_cast<int>(random_.below(7)) - 3;
  }

  void draw_exact(AllreduceOptions& options) {
    options.wire = Format::parse(kExact[random_.below(std::size(kExact))]);
    options.accumulate = Accumulate::exact;
    // Of 8 bits enough are left for a sum that is cast once more.
    const bool is_wide = options.wire == Format::parse("bfp8:64");
    if (is_wide && random_.below(2) == 0) options.result = Result::wire;
  }

  /// So few parts that the smallest format holds one of them beside the sum of all.
  void draw_nodes(AllreduceOptions& options) {
    constexpr int kMostParts = 8;
    if (random_.below(4) != 0 || 2 * ranks_ > kMostParts) return;
    options.emulate_nodes = 2;
    if (options.algorithm == Algorithm::hierarchical) options.algorithm = Algorithm::automatic;
  }

  void draw_floats(AllreduceOptions& options) {
    options.wire = Format::parse(kFloats[random_.below(std::size(kFloats))]);
    options.accumulate = static_cast<Accumulate>(random_.below(3));
    // Values of the formats: nothing is rounded, whatever the words.
    if (options.accumulate != Accumulate::kahan && random_.below(3) == 0) {
      options.rounding = Rounding::stochastic;
    }
  }
  void draw_scaling(AllreduceOptions& options) {
    const std::uint32_t kind = random_.below(4);
    if (kind == 0) options.scaling = {Scaling::Kind::delayed};
    if (kind == 1) options.scaling = {Scaling::Kind::aps, 64u << random_.below(5)};
  }

  Random random_;
  int ranks_;
};

std::uint32_t mix(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  std::uint32_t x = a * 0x9e3779b9u ^ b * 0x85ebca6bu ^ c * 0xc2b2ae35u;
  x ^= x >> 15;
  x *= 0x2c1b3c6du;
  return x ^ x >> 13;
}

/// What a part, of all ranks' and nodes' parts, has at a place.
float unscaled_value(const Draw& draw, std::size_t tensor, std::size_t i, int part, int parts) {
  const std::uint32_t word =
      mix(draw.number, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(tensor) + 7);
  if (!draw.dense) {
    const bool mine = word % static_cast<std::uint32_t>(parts) == static_cast<std::uint32_t>(part);
    return mine ? (word >> 20 & 1u ? -1.0f : 1.0f) : 0.0f;
  }
  const std::uint32_t own = mix(word, static_cast<std::uint32_t>(part), 5);
  if (draw.options.accumulate == Accumulate::majority) return own % 2 == 0 ? -1.0f : 1.0f;
  return static_cast<float>(own % 3) - 1.0f;
}

float value(const Draw& draw, std::size_t tensor, std::size_t i, int part, int parts) {
  return std::ldexp(unscaled_value(draw, tensor, i, part, parts), draw.exponent);
}

float wanted(const Draw& draw, std::size_t tensor, std::size_t i, int parts) {
  float sum = 0;
  for (int part = 0; part < parts; ++part) sum += value(draw, tensor, i, part, parts);
  if (draw.options.accumulate == Accumulate::majority) {
    return std::ldexp(static_cast<float>((sum > 0) - (sum < 0)), draw.output_exponent);
  }
  sum = std::ldexp(sum, draw.input_exponent + draw.output_exponent);
  return draw.options.op == ReduceOp::average ? sum / static_cast<float>(parts) : sum;
}

/// What APS finds in a tensor of such values.
std::int16_t scale_exponent(const Draw& draw, int parts) {
  const int growth = std::bit_width(static_cast<unsigned>(parts) - 1);
  return static_cast<std::int16_t>(draw.exponent + draw.input_exponent + growth);
}

/// One operation on its way: its memory, how it is started, and whether it came out right.
class Operation {
 public:
  Operation(Draw draw, Communicator& on) : draw_(std::move(draw)), on_(on) {}

  /// Starts what can be started; everything else is done.
  void begin() {
    switch (draw_.kind) {
      case Draw::Kind::sum:
        return begin_sum();
      case Draw::Kind::integers:
        return begin_integers();
      case Draw::Kind::broadcast:
        return broadcast();
      case Draw::Kind::allgather:
        return allgather();
      case Draw::Kind::barrier:
        on_.barrier();
        return;
      case Draw::Kind::halves:
        return halves();
    }
  }

  /// @return what is wrong; empty: nothing
  std::string end() {
    if (pending_) pending_->wait();
    if (draw_.kind == Draw::Kind::sum) check_sum();
    if (draw_.is_delayed()) check_memories();
    if (draw_.kind == Draw::Kind::integers) check_integers();
    return wrong_;
  }

 private:
  void complain(std::size_t tensor, std::size_t i, double got, double due) {
    if (!wrong_.empty()) return;
    const AllreduceOptions& options = draw_.options;
    std::ostringstream text;
    text << "operation " << draw_.number << " of kind " << static_cast<int>(draw_.kind) << ", "
         << options.wire.to_string() << " " << to_string(options.scaling) << " "
         << to_string(options.accumulate) << " " << to_string(options.op) << " "
         << to_string(options.algorithm) << " across " << to_string(options.across) << ", "
         << to_string(draw_.source) << " into " << to_string(draw_.type) << ", result "
         << to_string(options.result) << ", " << options.emulate_nodes << " nodes, factors 2^"
         << draw_.input_exponent << " and 2^" << draw_.output_exponent
         << (draw_.feeds_back ? ", residual" : "") << ": tensor " << tensor << " value " << i
         << " of " << draw_.counts[tensor] << " is " << got << ", not " << due;
    wrong_ = text.str();
  }

  int parts() const { return on_.size() * draw_.options.emulate_nodes; }

  /// `count` values of a part from a place on, as they lie in memory.
  std::vector<std::byte> stored(std::size_t tensor, std::size_t count, int part) const {
    std::vector<float> values;
    for (std::size_t i = 0; i < count; ++i)
      values.push_back(value(draw_, tensor, i, part, parts()));
    std::vector<std::byte> bytes(count * size_of(draw_.source));
    encode(values, Format::parse(to_string(draw_.source)), bytes);
    return bytes;
  }

  void begin_sum() {
    for (std::size_t t = 0; t < draw_.counts.size(); ++t) {
      const int nodes = draw_.options.emulate_nodes;
      sources_.emplace_back();
      nodes_.emplace_back();
      for (int node = 0; node < nodes; ++node) {
        sources_[t].push_back(stored(t, draw_.counts[t], on_.rank() * nodes + node));
      }
      for (const auto& source : sources_[t]) nodes_[t].push_back(source.data());
      if (draw_.is_apart()) {
        memory_.emplace_back(draw_.counts[t] * size_of(draw_.type));
      } else {
        memory_.push_back(std::move(sources_[t][0]));
      }
      residuals_.emplace_back(draw_.counts[t], 0.0f);
      const bool known = t % 2 == 0;
      memories_.push_back({known, known ? scale_exponent(draw_, parts()) : std::int16_t{0}});
    }
    start();
  }

  void start() {
    std::vector<Tensor> tensors;
    for (std::size_t t = 0; t < draw_.counts.size(); ++t) {
      tensors.push_back({.data = memory_[t].data(), .count = draw_.counts[t], .type = draw_.type});
      Tensor& tensor = tensors.back();
      tensor.input_exponent = draw_.input_exponent;
      tensor.output_exponent = draw_.output_exponent;
      if (draw_.source != draw_.type) tensor.input_type = draw_.source;
      if (draw_.options.emulate_nodes > 1) {
        tensor.nodes = nodes_[t];
      } else if (draw_.is_apart()) {
        tensor.input = nodes_[t][0];
      }
      if (draw_.feeds_back) tensor.residual = residuals_[t].data();
      if (draw_.is_delayed()) tensor.memory = &memories_[t];
    }
    if (draw_.number % 3 == 0) {
      on_.allreduce(tensors, draw_.options);
    } else {
      pending_ = on_.iallreduce(tensors, draw_.options);
    }
  }

  /// A result is rounded once to the tensor's type; what it should be, likewise.
  void check_values(std::size_t tensor, std::span<const std::byte> bytes, std::size_t count) {
    const Format stored = Format::parse(to_string(draw_.type));
    std::vector<float> got(count);
    decode(bytes, stored, got);
    std::vector<float> due;
    for (std::size_t i = 0; i < count; ++i) due.push_back(wanted(draw_, tensor, i, parts()));
    quantize(due, stored, due);
    for (std::size_t i = 0; i < count; ++i) {
      // A sum of zeros may have either sign.
      if (got[i] != due[i]) complain(tensor, i, got[i], due[i]);
    }
  }

  void check_sum() {
    for (std::size_t t = 0; t < draw_.counts.size(); ++t) {
      check_values(t, memory_[t], draw_.counts[t]);
      for (std::size_t i = 0; i < residuals_[t].size(); ++i) {
        if (residuals_[t][i] != 0) complain(t, i, residuals_[t][i], 0);
      }
    }
  }

  /// What is remembered is what the values were; of zeros, nothing. fp32 is not scaled.
  void check_memories() {
    if (draw_.options.wire.is_fp32()) return;
    for (std::size_t t = 0; t < draw_.counts.size(); ++t) {
      bool any = false;
      for (std::size_t i = 0; i < draw_.counts[t] && !any; ++i) {
        for (int part = 0; part < parts(); ++part) any |= value(draw_, t, i, part, parts()) != 0;
      }
      const int due = scale_exponent(draw_, parts());
      if (any && (!memories_[t].known || memories_[t].exponent != due)) {
        complain(t, 0, memories_[t].exponent, due);
      }
    }
  }

  /// Reduce-scatter, and all-gather of what comes of it.
  void halves() {
    const auto ranks = static_cast<std::size_t>(on_.size());
    const std::size_t count = draw_.counts[0] / ranks;
    const std::vector<std::byte> mine = stored(0, ranks * count, on_.rank());
    std::vector<std::byte> share(count * size_of(draw_.type));
    on_.reduce_scatter(mine.data(), draw_.source,
                       {.data = share.data(),
                        .count = count,
                        .type = draw_.type,
                        .input_exponent = draw_.input_exponent,
                        .output_exponent = draw_.output_exponent},
                       draw_.options);
    std::vector<std::byte> all(ranks * share.size());
    on_.allgather(share.data(), {.data = all.data(), .count = ranks * count, .type = draw_.type},
                  draw_.options);
    check_values(0, all, ranks * count);
  }

  std::int64_t integer(std::size_t i, int rank) const {
    return static_cast<std::int32_t>(
        mix(draw_.number, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(rank)));
  }

  void begin_integers() {
    for (std::size_t i = 0; i < draw_.counts[0]; ++i) integers_.push_back(integer(i, on_.rank()));
    const Tensor tensor{
        .data = integers_.data(), .count = integers_.size(), .type = DataType::int64};
    pending_ = on_.iallreduce({&tensor, 1}, draw_.options);
  }
  void check_integers() {
    for (std::size_t i = 0; i < integers_.size(); ++i) {
      std::int64_t due = 0;
      for (int rank = 0; rank < on_.size(); ++rank) due += integer(i, rank);
      if (integers_[i] != due) {
        complain(0, i, static_cast<double>(integers_[i]), static_cast<double>(due));
      }
    }
  }

  std::byte pattern(std::size_t i, int rank) const {
    return static_cast<std::byte>(integer(i, rank) & 0xff);
  }
  void check_bytes(std::span<const std::byte> bytes, int rank) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      if (bytes[i] == pattern(i, rank)) continue;
      complain(0, i, std::to_integer<int>(bytes[i]), std::to_integer<int>(pattern(i, rank)));
    }
  }
  void broadcast() {
    const int root = static_cast<int>(draw_.number % static_cast<std::uint32_t>(on_.size()));
    std::vector<std::byte> bytes(draw_.counts[0]);
    for (std::size_t i = 0; i < bytes.size() && on_.rank() == root; ++i) {
      bytes[i] = pattern(i, root);
    }
    on_.broadcast(bytes, root);
    check_bytes(bytes, root);
  }
  void allgather() {
    std::vector<std::byte> mine(draw_.counts[0]);
    for (std::size_t i = 0; i < mine.size(); ++i) mine[i] = pattern(i, on_.rank());
    std::vector<std::byte> all(mine.size() * static_cast<std::size_t>(on_.size()));
    on_.allgather(mine, all);
    for (int rank = 0; rank < on_.size(); ++rank) {
      const std::size_t first = static_cast<std::size_t>(rank) * mine.size();
      check_bytes(std::span(all).subspan(first, mine.size()), rank);
    }
  }

  Draw draw_;
  Communicator& on_;
  std::vector<std::vector<std::byte>> memory_;
  std::vector<std::vector<float>> residuals_;
  std::vector<std::vector<std::vector<std::byte>>> sources_;  // by tensor and node
  std::vector<std::vector<const void*>> nodes_;               // where they are
  std::vector<ScaleMemory> memories_;
  std::vector<std::int64_t> integers_;
  std::optional<Pending> pending_;
  std::string wrong_;
};

/// What a communicator keeps depends on how far ranks get ahead of each other, and on who casts
/// what first. Here each rank in turn comes late to large sums, so that chance asks for little
/// more.
void fill_pools(Communicator& communicator) {
  const std::vector<float> ones(200000, 1.0f);
  std::vector<float> sums(ones.size());
  const Tensor tensor{.data = sums.data(), .count = sums.size(), .input = ones.data()};
  const AllreduceOptions ways[] = {
      {},
      {.wire = Format::parse("bf16"), .accumulate = Accumulate::kahan},
      {.wire = Format::parse("bfp8:64"), .accumulate = Accumulate::exact}};
  const Algorithm all[] = {Algorithm::direct, Algorithm::ring, Algorithm::tree,
                           Algorithm::halving_doubling, Algorithm::hierarchical};
  for (int late = 0; late < communicator.size(); ++late) {
    for (AllreduceOptions options : ways) {
      for (const Algorithm algorithm : all) {
        options.algorithm = algorithm;
        if (communicator.rank() == late) std::this_thread::sleep_for(std::chrono::milliseconds(10));
        communicator.iallreduce({&tensor, 1}, options).wait();
      }
    }
  }
}

/// Operations on one communicator, up to a few under way at once.
SoakResult soak_one(Communicator& communicator, std::uint32_t seed, std::uint64_t operations) {
  Drawing drawing(seed, communicator.size());
  SoakResult result;
  std::vector<std::unique_ptr<Operation>> under_way;
  const auto finish = [&] {
    for (const auto& operation : under_way) {
      const std::string wrong = operation->end();
      if (wrong.empty()) continue;
      if (result.wrong++ == 0) result.first_wrong = wrong;
    }
    under_way.clear();
  };
  for (std::uint64_t i = 0; i < operations; ++i, ++result.operations) {
    const Draw draw = drawing.next(static_cast<std::uint32_t>(i));
    under_way.push_back(std::make_unique<Operation>(draw, communicator));
    under_way.back()->begin();
    if (under_way.size() > i % 7) finish();
  }
  finish();
  return result;
}

}  // namespace

Soak::Soak(std::vector<Communicator>& communicators, std::uint32_t seed)
    : communicators_(communicators), seed_(seed) {}

SoakResult Soak::run(std::uint64_t operations) {
  const std::size_t count = communicators_.size();
  const bool is_first = runs_ == 0;
  const std::uint32_t first = seed_ + 1000 * runs_++;
  std::vector<SoakResult> results(count);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t share = operations / count + (i < operations % count ? 1 : 0);
    threads.emplace_back([&, i, share] {
      try {
        if (is_first) fill_pools(communicators_[i]);
        results[i] = soak_one(communicators_[i], first + static_cast<std::uint32_t>(i), share);
      } catch (const std::exception& error) {
        results[i].wrong = 1;
        results[i].first_wrong = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  SoakResult all;
  for (const SoakResult& result : results) {
    all.operations += result.operations;
    all.wrong += result.wrong;
    if (all.first_wrong.empty()) all.first_wrong = result.first_wrong;
  }
  return all;
}

HeapUse heap_use() {
  const struct mallinfo2 info = mallinfo2();
  std::ifstream file("/proc/self/statm");
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  file >> size >> resident;
  return {info.uordblks + info.hblkhd,
          resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE))};
}

}  // namespace cpdcomm::testing
