// What is chosen, over a grid of places and calls.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "collective/tuning/decision.hpp"
#include "collective/tuning/forecast.hpp"
#include "support/bits.hpp"
#include "support/patterns.hpp"
#include "support/ranks.hpp"

namespace cpdcomm::testing {
namespace {

using collective::Plan;
using collective::tuning::builtin_table;
using collective::tuning::decide;
using collective::tuning::Decision;
using collective::tuning::Forecast;
using collective::tuning::NoNative;
using collective::tuning::parse_table;
using collective::tuning::Place;
using collective::tuning::Question;
using collective::tuning::Table;
using collective::tuning::to_json;
using collective::tuning::Way;

const Format kE4m3 = Format::floating(4, 3);

std::vector<Place> places() {
  std::vector<Place> all;
  for (const char* transport : {"threads", "mpi", "ucx"}) {
    for (const int hosts : {1, 2, 3, 8, 100}) {
      for (const int on_host : {1, 2, 7}) {
        all.push_back({transport, hosts * on_host, hosts, on_host});
      }
    }
  }
  return all;
}

std::vector<Question> questions() {
  std::vector<Question> all;
  for (const Algorithm algorithm : {Algorithm::automatic, Algorithm::direct, Algorithm::ring,
                                    Algorithm::tree, Algorithm::hierarchical}) {
    for (const Accumulate accumulate : {Accumulate::wide, Accumulate::rounded, Accumulate::kahan}) {
      for (const Format wire : {Format(), kE4m3, Format::parse("int4")}) {
        for (const double bytes : {0.0, 4.0, 1024.0, 65536.0, 4e6, 3e8}) {
          for (const bool native : {false, true}) {
            const bool may = algorithm == Algorithm::automatic && accumulate == Accumulate::wide;
            all.push_back({.algorithm = algorithm,
                           .accumulate = accumulate,
                           .scaled = wire == kE4m3,
                           .wire = wire,
                           .bytes = bytes,
                           .native_calls = native && may ? 1u : 0u,
                           .may_decline = may});
          }
        }
      }
    }
  }
  return all;
}

template <typename Check>
void for_all(Check&& check) {
  for (const Place& place : places()) {
    for (const Question& question : questions()) {
      SCOPED_TRACE(place.transport + " " + std::to_string(place.hosts) + " x " +
                   std::to_string(place.ranks_per_host) + ", " + to_string(question.algorithm) +
                   ", " + to_string(question.accumulate) + ", " + question.wire.to_string() + ", " +
                   std::to_string(question.bytes));
      check(place, question, decide(builtin_table(), place, question));
      if (::testing::Test::HasFailure()) return;
    }
  }
}

TEST(Plan, TakesWhatWasNamedAndCompressesIt) {
  for_all([](const Place&, const Question& question, const Decision& decision) {
    if (question.may_decline) return;
    const Plan& plan = decision.plan;
    EXPECT_TRUE(plan.compressed);
    EXPECT_FALSE(plan.native());
    if (question.algorithm == Algorithm::automatic) return;
    EXPECT_EQ(plan.algorithm, question.algorithm);
    EXPECT_FALSE(plan.exchange);
  });
}

TEST(Plan, IsDefiniteAndPossible) {
  for_all([](const Place& place, const Question& question, const Decision& decision) {
    const Plan& plan = decision.plan;
    EXPECT_NE(plan.algorithm, Algorithm::automatic);
    EXPECT_TRUE(plan.across != Algorithm::automatic && plan.across != Algorithm::hierarchical);
    EXPECT_TRUE(plan.segment_bytes >= 64 && plan.segment_bytes <= collective::kLargestSegment);
    EXPECT_STRNE(plan.reason, "");
    if (plan.native()) {
      EXPECT_GT(question.native_calls, 0u);
    }
    if (plan.exchange) {
      EXPECT_EQ(plan.algorithm, Algorithm::direct);
    }
    if (question.wire.is_fp32()) {
      EXPECT_TRUE(plan.compressed);
    }
    if (question.algorithm == Algorithm::automatic && plan.algorithm == Algorithm::hierarchical) {
      EXPECT_TRUE(place.hosts > 1 && place.ranks_per_host > 1);
    }
  });
}

TEST(Plan, OfRanksInOneProcessAlwaysCompressesAndIsNeverNative) {
  for_all([](const Place& place, const Question&, const Decision& decision) {
    if (!place.in_one_process()) return;
    EXPECT_TRUE(decision.plan.compressed);
    EXPECT_FALSE(decision.plan.native());
  });
}

/// The promise: what is taken is not slower than MPI's own, by the table.
TEST(Plan, IsNeverSlowerThanNativeByTheTable) {
  int native = 0;
  int compressed = 0;
  for_all([&](const Place& place, const Question& question, const Decision& decision) {
    if (question.native_calls == 0 || place.in_one_process()) return;
    const Plan& plan = decision.plan;
    const Forecast forecast(builtin_table(), place);
    const Format wire = plan.compressed ? question.wire : Format();
    const double taken =
        plan.native()
            ? forecast.native(question)
            : forecast.own({plan.algorithm, plan.across, plan.exchange, plan.segment_bytes},
                           question, wire);
    EXPECT_LE(taken, forecast.native(question) + 5e-6);
    native += plan.native() ? 1 : 0;
    compressed += plan.compressed && !question.wire.is_fp32() ? 1 : 0;
  });
  EXPECT_GT(native, 10);
  EXPECT_GT(compressed, 10);
}

/// A call whose sum only the library itself can do.
Question own_question(Format wire, double bytes) {
  return {.accumulate = Accumulate::rounded, .scaled = wire == kE4m3, .wire = wire, .bytes = bytes};
}

std::string name_of(const Plan& plan) {
  return to_string(Way{plan.algorithm, plan.across, plan.exchange, plan.segment_bytes});
}

/// What is chosen in places of one rank a host and of several, all unlike the table's.
TEST(Plan, HasEveryScheduleToChooseFromWhereNothingWasMeasured) {
  std::set<std::string> taken;
  for (const int hosts : {2, 3, 5, 8, 16, 64, 128}) {
    for (const int on_host : {1, 8}) {
      const Place place{"mpi", hosts * on_host, hosts, on_host};
      for (const double bytes : {256.0, 4096.0, 65536.0, 1e6, 1.6e7, 2.56e8}) {
        for (const Format wire : {Format(), kE4m3}) {
          taken.insert(name_of(decide(builtin_table(), place, own_question(wire, bytes)).plan));
        }
      }
    }
  }
  for (const char* name : {"ring", "direct", "exchange", "tree", "halving_doubling"}) {
    EXPECT_TRUE(taken.contains(name)) << name;
  }
  EXPECT_TRUE(std::ranges::any_of(
      taken, [](const std::string& name) { return name.starts_with("hierarchical"); }));
}

TEST(Plan, GoesByHostsWhereSeveralHostsHaveSeveralRanks) {
  for (const int hosts : {2, 4, 8, 64}) {
    const Place place{"mpi", hosts * 8, hosts, 8};
    const Plan plan = decide(builtin_table(), place, own_question(kE4m3, 1.6e7)).plan;
    EXPECT_EQ(plan.algorithm, Algorithm::hierarchical) << hosts;
  }
}

/// By hosts all would go through as many ranks of each host as the smallest has.
TEST(Plan, DoesNotGoByHostsOfVeryDifferentSizes) {
  for (const int on_smallest : {1, 2, 3, 7, 8}) {
    const Place place{"mpi", 32, 4, on_smallest};
    const Plan plan = decide(builtin_table(), place, own_question(kE4m3, 1.6e7)).plan;
    EXPECT_EQ(plan.algorithm == Algorithm::hierarchical, on_smallest >= 7) << on_smallest;
  }
}

TEST(Plan, TakesWhatWasMeasuredWhereItWasMeasured) {
  for (const auto& profile : builtin_table().profiles) {
    if (profile.own.empty()) continue;
    const Place place{"mpi", profile.ranks, profile.hosts, profile.ranks / profile.hosts};
    for (const double bytes : {1024.0, 65536.0, 1e6, 6.7e7}) {
      const Plan plan = decide(builtin_table(), place, own_question(kE4m3, bytes)).plan;
      const Way way{plan.algorithm, plan.across, plan.exchange, plan.segment_bytes};
      EXPECT_TRUE(std::ranges::any_of(profile.own, [&](const auto& own) { return own.way == way; }))
          << name_of(plan) << " " << bytes;
    }
  }
}

/// Every peer of `direct` takes memory for its receives.
TEST(Plan, LeavesDirectToFewRanksUnlessItIsNamed) {
  for_all([](const Place& place, const Question& question, const Decision& decision) {
    if (place.ranks <= 32) return;
    const Plan& plan = decision.plan;
    if (question.algorithm != Algorithm::direct) {
      EXPECT_NE(plan.algorithm, Algorithm::direct);
    }
    if (plan.algorithm == Algorithm::hierarchical && place.hosts > 32) {
      EXPECT_NE(plan.across, Algorithm::direct);
    }
  });
  Table table = builtin_table();
  std::erase_if(table.profiles, [](const auto& profile) { return profile.own.empty(); });
  for (auto& profile : table.profiles) {
    profile.ranks = profile.hosts = 64;
    std::erase_if(profile.own,
                  [](const auto& own) { return own.way.algorithm != Algorithm::direct; });
  }
  const Place place{"mpi", 64, 64, 1};
  EXPECT_NE(decide(table, place, own_question(kE4m3, 1e6)).plan.algorithm, Algorithm::direct);
  EXPECT_EQ(collective::plan_of_bytes(32, 0).algorithm, Algorithm::direct);
  EXPECT_EQ(collective::plan_of_bytes(33, 0).algorithm, Algorithm::ring);
}

/// As on another rank, which has read the same text.
TEST(Plan, IsTheSameByTheSameTable) {
  const Table again = parse_table(to_json(builtin_table()), "again");
  for_all([&](const Place& place, const Question& question, const Decision& decision) {
    const Decision other = decide(again, place, question);
    EXPECT_EQ(name_of(other.plan), name_of(decision.plan));
    EXPECT_EQ(hash_of(other.plan), hash_of(decision.plan));
    EXPECT_EQ(other.asked, decision.asked);
    EXPECT_EQ(other.native, decision.native);
  });
}

TEST(Plan, SaysWhyTheNetworksOwnIsNotTaken) {
  const Place place{"mpi", 4, 4, 1};
  const auto reason = [&](Format wire, NoNative why, std::uint32_t calls = 0) {
    Question question{
        .scaled = true, .wire = wire, .bytes = 1024, .native_calls = calls, .no_native = why};
    question.may_decline = why != NoNative::more_than_a_sum;
    Table table = builtin_table();
    for (auto& profile : table.profiles) profile.native.clear();
    return std::string(decide(table, place, question).plan.reason);
  };
  struct Case {
    NoNative why;
    const char* said;
  };
  for (const Case& each :
       {Case{NoNative::check, "made with check"}, Case{NoNative::transport, "not MPI"},
        Case{NoNative::thread_level, "MPI_THREAD_SERIALIZED"}, Case{NoNative::type, "same bits"},
        Case{NoNative::empty, "nothing to sum"},
        Case{NoNative::more_than_a_sum, "more than a plain sum"}}) {
    const std::string said = reason(Format(), each.why);
    EXPECT_NE(said.find(each.said), std::string::npos) << said;
    EXPECT_EQ(said.find("as fast as"), std::string::npos) << said;
  }
  EXPECT_NE(reason(Format(), {}, 1).find("no times"), std::string::npos);
  const std::string declined = reason(kE4m3, NoNative::check);
  EXPECT_NE(declined.find("compression does not pay"), std::string::npos) << declined;
  EXPECT_NE(declined.find("made with check"), std::string::npos) << declined;
}

TEST(Plan, GoesByTheRecordedMapOnFourRanks) {
  const Place across{"mpi", 4, 4, 1};
  Question question{.scaled = true, .wire = kE4m3, .native_calls = 1, .may_decline = true};
  for (const double bytes : {1024.0, 4096.0}) {
    question.bytes = bytes;
    EXPECT_TRUE(decide(builtin_table(), across, question).plan.native()) << bytes;
  }
  for (const double bytes : {1e6, 1e7, 6.7e7}) {
    question.bytes = bytes;
    EXPECT_TRUE(decide(builtin_table(), across, question).plan.compressed) << bytes;
  }
}

/// A measurement is given back as it is, and moves with the model elsewhere.
TEST(Forecast, IsTheMeasurementWhereThereIsOne) {
  const auto& profile = builtin_table().profiles.back();
  const Place place{"mpi", profile.ranks, profile.hosts, 1};
  const Forecast forecast(builtin_table(), place);
  for (const auto& measured : profile.own) {
    for (const auto& point : measured.times) {
      const Question question{.scaled = measured.wire == kE4m3 || measured.wire.code_bits() == 4,
                              .wire = measured.wire,
                              .bytes = point.bytes};
      EXPECT_NEAR(forecast.own(measured.way, question, measured.wire) / point.seconds, 1, 1e-9);
    }
  }
}

/// A table in which one rule holds for all calls.
std::string ruled(const std::string& transport, const std::string& rule) {
  return R"({"schema": "cpdcomm-tuning/1", "profiles": [{"transport": ")" + transport +
         R"(", "hosts": 5, "ranks": 5, "call_seconds": 0, "network": {"latency_inside": 1,
         "latency_across": 1, "inside_bytes_per_second": 1, "across_bytes_per_second": 1,
         "cpu_seconds_per_message": 1, "cpu_bytes_per_second": 1}, "rules": [)" +
         rule + "]}]}";
}

std::vector<std::vector<float>> sums(const std::string& table, const AllreduceOptions& options,
                                     std::size_t count, Algorithm expected) {
  Ranks ranks(5, {.timeout = std::chrono::seconds(120), .tuning = table});
  PerRank<std::vector<float>> values(5);
  ranks.run([&](Communicator& self) {
    auto& own = values[index_of(self)];
    own = gradients(count, 7u + static_cast<unsigned>(self.rank()));
    const Report report = self.allreduce(own, options);
    EXPECT_EQ(report.algorithm, expected);
  });
  return values;
}

TEST(Tuning, ATableChangesTheChoice) {
  const AllreduceOptions options{.wire = kE4m3};
  for (const Algorithm algorithm : {Algorithm::direct, Algorithm::ring, Algorithm::tree}) {
    const std::string table = ruled("threads", R"({"algorithm": ")" + to_string(algorithm) + "\"}");
    const auto got = sums(table, options, 1000, algorithm);
    AllreduceOptions named = options;
    named.algorithm = algorithm;
    const auto wanted = sums("", named, 1000, algorithm);
    for (std::size_t rank = 0; rank < 5; ++rank) EXPECT_TRUE(same_bits(got[rank], wanted[rank]));
  }
}

/// `exchange` gives what `direct` gives.
TEST(Tuning, ExchangeHasTheBitsOfDirect) {
  for (const Accumulate accumulate : {Accumulate::wide, Accumulate::rounded, Accumulate::kahan}) {
    for (const Format wire : {Format(), kE4m3, Format::parse("e3m0")}) {
      if (wire.is_fp32() && accumulate != Accumulate::wide) continue;
      const AllreduceOptions options{.wire = wire, .accumulate = accumulate};
      AllreduceOptions named = options;
      named.algorithm = Algorithm::direct;
      const auto got =
          sums(ruled("threads", R"({"algorithm": "exchange"})"), options, 4001, Algorithm::direct);
      const auto wanted = sums("", named, 4001, Algorithm::direct);
      for (std::size_t rank = 0; rank < 5; ++rank) {
        EXPECT_TRUE(same_bits(got[rank], wanted[rank]))
            << to_string(accumulate) << " " << wire.to_string() << " rank " << rank;
      }
    }
  }
}

TEST(Tuning, ExchangeHasTheBitsOfDirectInIntegers) {
  const std::string table = ruled("threads", R"({"algorithm": "exchange"})");
  for (const auto& [wire, accumulate] : {std::pair{"bfp8:64", Accumulate::exact},
                                         {"int4:64", Accumulate::exact},
                                         {"sign:64", Accumulate::majority},
                                         {"mxfp4", Accumulate::wide}}) {
    for (const Result result : {Result::full, Result::wire}) {
      AllreduceOptions options{.wire = Format::parse(wire), .accumulate = accumulate};
      if (accumulate == Accumulate::exact) options.result = result;
      const auto got = sums(table, options, 4001, Algorithm::direct);
      options.algorithm = Algorithm::direct;
      const auto wanted = sums("", options, 4001, Algorithm::direct);
      for (std::size_t rank = 0; rank < 5; ++rank) {
        EXPECT_TRUE(same_bits(got[rank], wanted[rank])) << wire << " rank " << rank;
      }
    }
  }
}

TEST(Tuning, ExchangeIsNotTakenWhereCastsAreRandom) {
  const Table table = parse_table(ruled("mpi", R"({"algorithm": "exchange"})"), "test");
  const Place place{"mpi", 5, 5, 1};
  Question question{.wire = kE4m3, .bytes = 64};
  EXPECT_TRUE(decide(table, place, question).plan.exchange);
  question.rounding = Rounding::stochastic;
  EXPECT_FALSE(decide(table, place, question).plan.exchange);
}

TEST(Tuning, RulesHoldForTheirSizesAndFormats) {
  const Table table = parse_table(ruled("mpi", R"({"max_bytes": 1000, "algorithm": "native"},
                      {"min_bytes": 5000, "wire": "e4m3", "algorithm": "tree"},
                      {"algorithm": "ring", "segment_bytes": 4096})"),
                                  "test");
  const Place place{"mpi", 5, 5, 1};
  const auto plan = [&](double bytes, Format wire, std::uint32_t calls) {
    return decide(table, place, {.wire = wire, .bytes = bytes, .native_calls = calls}).plan;
  };
  EXPECT_EQ(plan(5000, kE4m3, 0).algorithm, Algorithm::tree);
  EXPECT_EQ(plan(4999, kE4m3, 0).algorithm, Algorithm::ring);
  EXPECT_EQ(plan(5000, Format(), 0).algorithm, Algorithm::ring);
  EXPECT_EQ(plan(5000, Format(), 0).segment_bytes, 4096u);
  EXPECT_EQ(plan(1000, Format(), 0).algorithm, Algorithm::ring);
}

}  // namespace
}  // namespace cpdcomm::testing
