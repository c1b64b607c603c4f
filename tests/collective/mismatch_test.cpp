// Ranks that ask for different things all learn of it, none hangs, and the next call works.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "support/bits.hpp"
#include "support/jitter_transport.hpp"
#include "support/random.hpp"
#include "support/ranks.hpp"

namespace cpdcomm::testing {
namespace {

using Values = std::vector<float>;
using Call = std::function<void(Communicator&)>;

#ifdef CPDCOMM_LIGHT_TESTS
constexpr int kRounds = 40;
constexpr int kRankCounts[] = {2, 3, 5};
constexpr int kRankCountsOfKinds[] = {3};
#else
constexpr int kRounds = 200;
constexpr int kRankCounts[] = {2, 3, 4, 5, 8};
constexpr int kRankCountsOfKinds[] = {2, 3, 4};
#endif

const Format kE4m3 = Format::floating(4, 3);

/// A call that is not the one that the other ranks make.
struct Deviation {
  const char* name;
  Call call;
  std::optional<ErrorCode> own = ErrorCode::mismatch;  ///< what the deviating rank gets
};

void sum(Communicator& self, std::size_t count, const AllreduceOptions& options) {
  Values values(count, 1.0f);
  self.allreduce(values, options);
}

Call sum_with(AllreduceOptions options, std::size_t count = 1000) {
  return [=](Communicator& self) { sum(self, count, options); };
}

AllreduceOptions usual(Algorithm algorithm) { return {.wire = kE4m3, .algorithm = algorithm}; }

std::vector<Deviation> other_options(Algorithm algorithm) {
  const AllreduceOptions base = usual(algorithm);
  AllreduceOptions format = base;
  format.wire = Format::floating(5, 2);
  AllreduceOptions finite = base;
  finite.wire = Format::parse("e4m3fn");
  AllreduceOptions exact = base;
  exact.wire = Format();
  AllreduceOptions other_algorithm = base;
  other_algorithm.algorithm = algorithm == Algorithm::ring ? Algorithm::direct : Algorithm::ring;
  AllreduceOptions accumulate = base;
  accumulate.accumulate = Accumulate::kahan;
  AllreduceOptions op = base;
  op.op = ReduceOp::average;
  AllreduceOptions maximum = base;
  maximum.op = ReduceOp::max;
  AllreduceOptions unscaled = base;
  unscaled.scaling = {Scaling::Kind::none, 0};
  AllreduceOptions grouped = base;
  grouped.scaling = {Scaling::Kind::aps, 64};
  return {
      {"another format", sum_with(format)},
      {"a format of the same widths", sum_with(finite)},
      {"fp32", sum_with(exact)},
      {"another algorithm", sum_with(other_algorithm)},
      {"another accumulate", sum_with(accumulate)},
      {"another operator", sum_with(op)},
      {"an exact operator", sum_with(maximum)},
      {"no scaling", sum_with(unscaled)},
      {"scaling by groups", sum_with(grouped)},
  };
}

std::vector<Deviation> other_tensors(Algorithm algorithm) {
  const AllreduceOptions base = usual(algorithm);
  const auto with_ends = [=](std::vector<std::size_t> ends) -> Call {
    return [=](Communicator& self) {
      Values values(1000, 1.0f);
      self.allreduce(values, ends, base);
    };
  };
  const auto of_tensor = [=](DataType type, std::optional<Format> wire) -> Call {
    return [=](Communicator& self) {
      std::vector<std::byte> memory(1000 * 8);
      const Tensor tensor{.data = memory.data(), .count = 1000, .type = type, .wire = wire};
      self.allreduce({&tensor, 1}, base);
    };
  };
  const Call of_nodes = [=](Communicator& self) {
    Values values(1000, 1.0f);
    const std::vector<const void*> nodes(2, values.data());
    const Tensor tensor{.data = values.data(), .count = 1000, .nodes = nodes};
    AllreduceOptions options = base;
    options.emulate_nodes = 2;
    self.allreduce({&tensor, 1}, options);
  };
  return {
      {"fewer values", sum_with(base, 999)},
      {"many more values", sum_with(base, 300000)},
      {"no values", sum_with(base, 0)},
      {"no tensors", [=](Communicator& self) { self.allreduce(std::span<const Tensor>(), base); }},
      {"other boundaries", with_ends({500, 1000})},
      {"an empty tensor more", with_ends({0, 1000})},
      {"another type", of_tensor(DataType::bf16, {})},
      {"an integer type", of_tensor(DataType::int32, {})},
      {"an exempt tensor", of_tensor(DataType::fp32, Format())},
      {"two emulated nodes", of_nodes},
  };
}

std::vector<Deviation> other_calls() {
  return {
      {"barrier", [](Communicator& self) { self.barrier(); }},
      {"allgather",
       [](Communicator& self) {
         std::vector<std::byte> mine(1000);
         std::vector<std::byte> all(1000 * static_cast<std::size_t>(self.size()));
         self.allgather(mine, all);
       }},
      {"broadcast of a peer",
       [](Communicator& self) {
         std::vector<std::byte> bytes(1000);
         self.broadcast(bytes, (self.rank() + 1) % self.size());
       }},
      {"refuse", [](Communicator& self) { self.refuse("this rank has no such tensor"); }, {}},
  };
}

std::vector<Deviation> errors_of_one(Algorithm algorithm) {
  const AllreduceOptions base = usual(algorithm);
  AllreduceOptions group = base;
  group.scaling = {Scaling::Kind::aps, 12};
  AllreduceOptions nodes = base;
  nodes.emulate_nodes = 0;
  AllreduceOptions bitwise = base;
  bitwise.op = ReduceOp::bit_or;
  AllreduceOptions negative = base;
  negative.timeout = std::chrono::milliseconds(-1);
  const auto invalid = ErrorCode::invalid_argument;
  return {
      {"no memory",
       [=](Communicator& self) {
         const Tensor tensor{.data = nullptr, .count = 1000};
         self.allreduce({&tensor, 1}, base);
       },
       invalid},
      {"a group of 12", sum_with(group), invalid},
      {"no nodes", sum_with(nodes), invalid},
      {"a negative timeout", sum_with(negative), invalid},
      {"bits of floats", sum_with(bitwise), ErrorCode::unsupported},
      {"wrong ends",
       [=](Communicator& self) {
         Values values(1000);
         self.allreduce(values, std::vector<std::size_t>{999}, base);
       },
       invalid},
      {"a root that does not exist", [](Communicator& self) { self.broadcast({}, self.size()); },
       invalid},
      {"room that does not fit",
       [](Communicator& self) { self.allgather(std::vector<std::byte>(3), {}); }, invalid},
  };
}

std::vector<Deviation> all_deviations(Algorithm algorithm) {
  std::vector<Deviation> all;
  for (auto some : {other_options(algorithm), other_tensors(algorithm), other_calls(),
                    errors_of_one(algorithm)}) {
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

/// The call that all ranks agree on; its result shows that nothing old has got into it.
void expect_sum(Ranks& ranks, Algorithm algorithm, std::size_t count = 777) {
  ranks.run([&](Communicator& self) {
    Values values(count, static_cast<float>(self.rank() + 1));
    self.allreduce(values, usual(algorithm));
    const auto total = static_cast<float>(self.size() * (self.size() + 1) / 2);
    ASSERT_TRUE(same_bits(values, Values(count, total)));
  });
}

/// One rank deviates from a sum.
void expect_mismatch(Ranks& ranks, int deviant, const Deviation& deviation, Algorithm algorithm,
                     Random& random) {
  const std::size_t count = 1000;
  const int late = static_cast<int>(random.below(static_cast<std::uint32_t>(ranks.size())));
  const auto outcomes = ranks.outcomes([&](Communicator& self) {
    if (self.rank() == late) std::this_thread::sleep_for(std::chrono::microseconds(300));
    if (self.rank() == deviant) {
      deviation.call(self);
    } else {
      sum(self, count, usual(algorithm));
    }
  });
  for (int rank = 0; rank < ranks.size(); ++rank) {
    const Outcome& got = outcomes[static_cast<std::size_t>(rank)];
    const auto wanted = rank == deviant ? deviation.own : ErrorCode::mismatch;
    EXPECT_EQ(got.code, wanted) << deviation.name << ", rank " << rank << " of " << ranks.size()
                                << ", deviant " << deviant << ": " << got;
  }
}

class Mismatch : public ::testing::TestWithParam<Algorithm> {
 protected:
  void play(Ranks& ranks, unsigned seed, int rounds) {
    Random random(seed);
    const auto deviations = all_deviations(GetParam());
    const auto kinds = static_cast<std::uint32_t>(deviations.size());
    for (int round = 0; round < rounds && !HasFailure(); ++round) {
      const int deviant = static_cast<int>(random.below(static_cast<std::uint32_t>(ranks.size())));
      expect_mismatch(ranks, deviant, deviations[random.below(kinds)], GetParam(), random);
      // Sometimes one mistake follows on another, and sometimes on a sum of many segments.
      if (random.below(2) == 0) expect_sum(ranks, GetParam(), 1 + random.below(2000));
      if (random.below(20) == 0) expect_sum(ranks, GetParam(), 500000);
    }
    expect_sum(ranks, GetParam());
  }
};

TEST_P(Mismatch, OfEveryKindIsFoundByEveryRank) {
  for (const int count : kRankCountsOfKinds) {
    Ranks ranks(count);
    Random random(1);
    for (const Deviation& deviation : all_deviations(GetParam())) {
      for (int deviant = 0; deviant < count; ++deviant) {
        expect_mismatch(ranks, deviant, deviation, GetParam(), random);
        expect_sum(ranks, GetParam());
      }
    }
  }
}

TEST_P(Mismatch, InRandomMixtures) {
  for (const int count : {2, 3, 5}) {
    Ranks ranks(count);
    play(ranks, 2, kRounds);
  }
}

TEST_P(Mismatch, OnASlowNetwork) {
  Ranks ranks(make_jitter_communicators(4, 3, Ranks::patient()));
  play(ranks, 4, kRounds / 2);
}

TEST_P(Mismatch, OfEverybodyWithEverybody) {
  Ranks ranks(4);
  for (std::size_t round = 0; round < 50; ++round) {
    const auto outcomes = ranks.outcomes([&](Communicator& self) {
      sum(self, 10 + 100 * index_of(self) * (1 + round % 3), usual(GetParam()));
    });
    for (const Outcome& outcome : outcomes) EXPECT_TRUE(outcome.is(ErrorCode::mismatch)) << outcome;
    expect_sum(ranks, GetParam());
  }
}

TEST_P(Mismatch, AtTheSameSize) {
  // Nothing but the header tells these apart.
  Ranks ranks(2);
  const auto outcomes = ranks.outcomes([&](Communicator& self) {
    AllreduceOptions options = usual(GetParam());
    options.wire = self.rank() == 0 ? kE4m3 : Format::floating(5, 2);
    options.scaling = {Scaling::Kind::none, 0};
    sum(self, 8, options);
  });
  for (const Outcome& outcome : outcomes) {
    EXPECT_TRUE(outcome.is(ErrorCode::mismatch)) << outcome;
    EXPECT_NE(outcome.message.find("format"), std::string::npos) << outcome;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Mismatch,
                         ::testing::Values(Algorithm::direct, Algorithm::ring, Algorithm::tree,
                                           Algorithm::halving_doubling),
                         [](const auto& test) { return to_string(test.param); });

/// Two ranks' options that differ in one, and how a message names that.
struct OneOption {
  const char* named;
  AllreduceOptions options[2];
};

std::vector<OneOption> single_options() {
  const AllreduceOptions usual{.wire = kE4m3};
  const auto with = [](AllreduceOptions options, auto change) {
    change(options);
    return options;
  };
  const auto apart = [&](const AllreduceOptions& base, auto first, auto second) {
    return std::array{with(base, first), with(base, second)};
  };
  using O = AllreduceOptions&;
  const AllreduceOptions hosts{.wire = kE4m3, .algorithm = Algorithm::hierarchical};
  const AllreduceOptions exact{.wire = Format::parse("int8"), .accumulate = Accumulate::exact};
  const AllreduceOptions stochastic{.wire = kE4m3, .rounding = Rounding::stochastic, .seed = 1};
  const auto same = [](O) {};
  std::vector<OneOption> all;
  const auto add = [&](const char* named, const std::array<AllreduceOptions, 2>& two) {
    all.push_back({named, {two[0], two[1]}});
  };
  add("another wire format", apart(usual, same, [](O o) { o.wire = Format::parse("e5m2"); }));
  add("another wire format", apart(usual, same, [](O o) { o.wire = Format(); }));
  add("another scaling", apart(usual, same, [](O o) { o.scaling.kind = Scaling::Kind::none; }));
  add("another scaling", apart(usual, same, [](O o) { o.scaling = parse_scaling("aps:64"); }));
  add("accumulate '", apart(usual, same, [](O o) { o.accumulate = Accumulate::kahan; }));
  add("op '", apart(usual, same, [](O o) { o.op = ReduceOp::average; }));
  add("algorithm '", apart(usual, same, [](O o) { o.algorithm = Algorithm::ring; }));
  add("algorithm '", apart(hosts, same, [](O o) { o.algorithm = Algorithm::tree; }));
  add("across '", apart(hosts, same, [](O o) { o.across = Algorithm::tree; }));
  add("another inner format", apart(hosts, same, [](O o) { o.inner = kE4m3; }));
  add("result '", apart(exact, same, [](O o) { o.result = Result::wire; }));
  add("rounding '", apart(usual, same, [](O o) {
        o.rounding = Rounding::stochastic;
        o.seed = 1;
      }));
  add("another seed", apart(stochastic, same, [](O o) { o.seed = 2; }));
  return all;
}

constexpr const char* kNamed[] = {
    "another wire format", "another scaling", "accumulate '",         "op '",
    "algorithm '",         "across '",        "another inner format", "result '",
    "rounding '",          "another seed",    "for something else"};

TEST(MismatchOfOptions, NamesTheOneThatDiffers) {
  Ranks ranks(2);
  for (const OneOption& one : single_options()) {
    const auto outcomes =
        ranks.outcomes([&](Communicator& self) { sum(self, 1000, one.options[self.rank()]); });
    for (const Outcome& outcome : outcomes) {
      EXPECT_TRUE(outcome.is(ErrorCode::mismatch)) << one.named << ": " << outcome;
      for (const char* const name : kNamed) {
        const bool said = outcome.message.find(name) != std::string::npos;
        EXPECT_EQ(said, std::string(name) == one.named) << name << ": " << outcome;
      }
    }
  }
}

TEST(MismatchOfOptions, SaysWhatEachAskedFor) {
  Ranks ranks(2);
  const auto outcomes = ranks.outcomes([&](Communicator& self) {
    sum(self, 1000, usual(self.rank() == 0 ? Algorithm::automatic : Algorithm::ring));
  });
  const char* const seen_by[] = {"rank 1 asked for algorithm 'ring' (this rank: 'automatic')",
                                 "rank 0 asked for algorithm 'automatic' (this rank: 'ring')"};
  for (const Outcome& outcome : outcomes) {
    const bool by_either = outcome.message.find(seen_by[0]) != std::string::npos ||
                           outcome.message.find(seen_by[1]) != std::string::npos;
    EXPECT_TRUE(by_either) << outcome;
  }
}

TEST(MismatchOfSegments, IsFound) {
  std::vector<Communicator> communicators;
  auto transports = transport::make_thread_transports(3);
  for (std::size_t rank = 0; rank < 3; ++rank) {
    communicators.emplace_back(std::move(transports[rank]), Ranks::patient(100 + 50 * rank));
  }
  Ranks ranks(std::move(communicators));
  for (const std::size_t count : {10000u, 1000u, 300u}) {
    const auto outcomes = ranks.outcomes(
        [&](Communicator& self) { sum(self, count, {.algorithm = Algorithm::direct}); });
    for (const Outcome& outcome : outcomes) EXPECT_TRUE(outcome.is(ErrorCode::mismatch)) << outcome;
  }
  ranks.run([](Communicator& self) { self.barrier(); });
}

/// Who refuses may be in its next call before its peers come to this one.
TEST(MismatchWithRefusal, SaysWhyAfterTheRankHasGoneOn) {
  for (const int count : {2, 3}) {
    Ranks ranks(count);
    const auto outcomes = ranks.outcomes([&](Communicator& self) {
      if (self.rank() == 0) {
        self.refuse("one of two parts");
      } else {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        const Outcome told = outcome_of([&] { sum(self, 1000, usual(Algorithm::direct)); });
        EXPECT_TRUE(told.is(ErrorCode::mismatch)) << told;
        EXPECT_NE(told.message.find("one of two parts"), std::string::npos) << told;
      }
      sum(self, 500, usual(Algorithm::direct));
    });
    for (const Outcome& outcome : outcomes) EXPECT_FALSE(outcome.code) << outcome;
  }
}

/// A broadcast does not wait for all, so some ranks of it may not notice; but every rank goes on.
TEST(MismatchWithBroadcast, LeavesTheCommunicatorUsable) {
  for (const int count : kRankCounts) {
    Ranks ranks(count);
    for (int odd = 0; odd < count; ++odd) {
      for (int root = 0; root < count; ++root) {
        SCOPED_TRACE(::testing::Message() << count << " ranks, " << odd << " sums, root " << root);
        const auto outcomes = ranks.outcomes([&](Communicator& self) {
          std::vector<std::byte> bytes(100);
          if (self.rank() == odd) {
            sum(self, 1000, usual(Algorithm::direct));
          } else {
            self.broadcast(bytes, root);
          }
        });
        for (int rank = 0; rank < count; ++rank) {
          const Outcome& got = outcomes[static_cast<std::size_t>(rank)];
          EXPECT_TRUE(got.is(ErrorCode::mismatch) || (!got.code && rank != odd)) << got;
        }
        expect_sum(ranks, Algorithm::direct);
      }
    }
  }
}

/// The other way round: one rank alone broadcasts, and is done before the others have begun.
TEST(MismatchWithBroadcast, IsFoundAfterTheRootHasGoneOn) {
  for (const int count : kRankCounts) {
    Ranks ranks(count);
    for (int root = 0; root < count; ++root) {
      SCOPED_TRACE(::testing::Message() << count << " ranks, root " << root);
      const auto outcomes = ranks.outcomes([&](Communicator& self) {
        if (self.rank() == root) {
          std::vector<std::byte> bytes(100);
          self.broadcast(bytes, root);
        } else {
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
          EXPECT_THROW(sum(self, 1000, usual(Algorithm::direct)), Error);
        }
        sum(self, 500, usual(Algorithm::direct));
      });
      for (const Outcome& outcome : outcomes) EXPECT_FALSE(outcome.code) << outcome;
      expect_sum(ranks, Algorithm::direct);
    }
  }
}

}  // namespace
}  // namespace cpdcomm::testing
