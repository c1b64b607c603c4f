// Tables of times as files, and the line on stderr.
#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>

#include "collective/tuning/tuner.hpp"
#include "cpdcomm/threads.hpp"
#include "support/ranks.hpp"
#include "support/wrapped_transport.hpp"
#include "transport/threads.hpp"

namespace cpdcomm::testing {
namespace {

using collective::tuning::at;
using collective::tuning::builtin_table;
using collective::tuning::Curve;
using collective::tuning::NoNative;
using collective::tuning::parse_table;
using collective::tuning::place_of;
using collective::tuning::Question;
using collective::tuning::question_of;
using collective::tuning::Table;
using collective::tuning::to_json;
using collective::tuning::Tuner;

std::string with(const std::string& text, const std::string& old, const std::string& changed) {
  const std::size_t found = text.find(old);
  EXPECT_NE(found, std::string::npos) << old;
  return std::string(text).replace(found, old.size(), changed);
}

const std::string kGood = R"({"schema": "cpdcomm-tuning/1", "margin": 0.1,
 "codecs": [{"wire": "e4m3", "encode": 1e9, "decode": 2e9, "join": 3e9, "scan": 4e9}],
 "profiles": [{"transport": "mpi", "hosts": 2, "ranks": 4, "call_seconds": 1e-6,
  "network": {"latency_inside": 1e-6, "latency_across": 2e-5, "inside_bytes_per_second": 3e9,
              "across_bytes_per_second": 1e9, "cpu_seconds_per_message": 1e-6, "cpu_bytes_per_second": 2.5e9},
  "native": [[1024, 1e-5], [4096, 2e-5]],
  "own": [{"algorithm": "hierarchical", "across": "ring", "segment_bytes": 4096, "wire": "int4:64",
           "times": [[1024, 3e-5]]}],
  "rules": [{"max_bytes": 1024, "algorithm": "native"}]}]})";

TEST(TuningTable, IsReadAsItIsWritten) {
  for (const Table& table : {builtin_table(), parse_table(kGood, "good")}) {
    const std::string text = to_json(table);
    const Table again = parse_table(text, "again");
    EXPECT_EQ(to_json(again), text);
    ASSERT_EQ(again.profiles.size(), table.profiles.size());
    for (std::size_t i = 0; i < table.profiles.size(); ++i) {
      EXPECT_EQ(again.profiles[i].own, table.profiles[i].own);
      EXPECT_EQ(again.profiles[i].rules, table.profiles[i].rules);
      EXPECT_EQ(again.profiles[i].native, table.profiles[i].native);
    }
  }
}

TEST(TuningTable, HasEveryField) {
  const Table table = parse_table(kGood, "good");
  EXPECT_EQ(table.margin, 0.1);
  EXPECT_EQ(table.codecs.at(0).rates.scan, 4e9);
  const auto& profile = table.profiles.at(0);
  EXPECT_EQ(profile.network.across_bytes_per_second, 1e9);
  EXPECT_EQ(profile.own.at(0).way.across, Algorithm::ring);
  EXPECT_EQ(profile.own.at(0).way.segment_bytes, 4096u);
  EXPECT_TRUE(profile.rules.at(0).native);
}

TEST(TuningTable, SaysWhatIsWrongAndWhere) {
  struct Case {
    const char* old;
    const char* changed;
    std::vector<const char*> said;
  };
  const std::vector<Case> cases{
      {"cpdcomm-tuning/1", "cpdcomm-tuning/9", {"schema", "/9", "cpdcomm-tuning/1"}},
      {"\"margin\": 0.1", "\"margin\": 1.5", {"margin", "1.5", "0 to 0.9"}},
      {"\"margin\"", "\"margins\"", {"'margins'", "unknown field", "margin"}},
      {"\"hosts\": 2", "\"hosts\": 5", {"profiles[0].hosts", "5", "number of ranks"}},
      {"\"hosts\": 2,", "", {"profiles[0].hosts", "missing"}},
      {"\"ranks\": 4", "\"ranks\": 2.5", {"profiles[0].ranks", "2.5", "integer"}},
      {"\"latency_across\": 2e-5",
       "\"latency_across\": -1",
       {"profiles[0].network.latency_across", "-1", "from 0"}},
      {"[4096, 2e-5]", "[512, 2e-5]", {"profiles[0].native[1]", "512", "above"}},
      {"[4096, 2e-5]", "[4096]", {"profiles[0].native[1]", "[4096]", "pair"}},
      {"\"across\": \"ring\"",
       "\"across\": \"star\"",
       {"profiles[0].own[0].across", "star", "halving_doubling"}},
      {"int4:64", "int99", {"profiles[0].own[0].wire", "int99"}},
      {"\"segment_bytes\": 4096", "\"segment_bytes\": 1", {"segment_bytes", "1", "64"}},
      {"\"algorithm\": \"native\"", "\"algorithm\": \"mpi\"", {"rules[0].algorithm", "mpi"}},
      {"{\"schema\"", "{schema", {"JSON"}},
  };
  for (const Case& wrong : cases) {
    const Outcome outcome =
        outcome_of([&] { parse_table(with(kGood, wrong.old, wrong.changed), "my.json"); });
    EXPECT_TRUE(outcome.is(ErrorCode::invalid_argument)) << wrong.changed;
    EXPECT_NE(outcome.message.find("my.json"), std::string::npos) << outcome.message;
    for (const char* word : wrong.said) {
      EXPECT_NE(outcome.message.find(word), std::string::npos) << word << ": " << outcome.message;
    }
  }
}

TEST(TuningTable, IsReadFromAFile) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("cpdcomm-tuning-" + std::to_string(::getpid()) + ".json");
  std::ofstream(path) << to_json(builtin_table());
  EXPECT_EQ(make_thread_communicators(2, {.tuning = path.string()}).size(), 2u);
  std::ofstream(path) << "{}";
  const Outcome wrong =
      outcome_of([&] { make_thread_communicators(2, {.tuning = path.string()}); });
  std::filesystem::remove(path);
  EXPECT_TRUE(wrong.is(ErrorCode::invalid_argument)) << wrong;
  EXPECT_NE(wrong.message.find(path.string()), std::string::npos) << wrong;
  const Outcome missing =
      outcome_of([&] { make_thread_communicators(2, {.tuning = path.string()}); });
  EXPECT_TRUE(missing.is(ErrorCode::invalid_argument)) << missing;
  EXPECT_NE(missing.message.find(path.string()), std::string::npos) << missing;
}

TEST(TuningCurve, IsALineBetweenPointsAndGrowsBehindThem) {
  const Curve curve{{100, 2}, {200, 4}, {400, 5}};
  EXPECT_EQ(at(curve, 0), 2);
  EXPECT_EQ(at(curve, 100), 2);
  EXPECT_EQ(at(curve, 150), 3);
  EXPECT_EQ(at(curve, 300), 4.5);
  EXPECT_EQ(at(curve, 800), 10);
}

TEST(Tuner, TellsEachKindOfDecisionOnce) {
  Tuner tuner({"mpi", 4, 4, 1}, 0, true);
  ::testing::internal::CaptureStderr();
  for (int round = 0; round < 3; ++round) {
    for (const double bytes : {1024.0, 1028.0, 6e7}) {
      tuner.plan({.scaled = true,
                  .wire = Format::floating(4, 3),
                  .bytes = bytes,
                  .native_calls = 1,
                  .may_decline = true});
    }
  }
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 2) << said;
  for (const char* word : {"1024 bytes", "e4m3", "4 ranks", "native", "not compressed", "us",
                           "table: built in", "compression pays"}) {
    EXPECT_NE(said.find(word), std::string::npos) << word << ": " << said;
  }
}

/// A transport as far as a question is about it.
class Named final : public WrappedTransport {
 public:
  Named(std::string name, bool native)
      : WrappedTransport(std::move(transport::make_thread_transports(1).front())),
        name_(std::move(name)),
        native_(native) {}
  std::string_view name() const override { return name_; }
  bool has_allreduce(DataType type, ReduceOp) const override {
    return native_ && type != DataType::bf16;
  }

 private:
  std::string name_;
  bool native_;
};

Question asked(const AllreduceOptions& options, const Named& transport, bool native_allowed = true,
               DataType type = DataType::fp32, std::size_t count = 8) {
  static std::array<float, 8> values{};
  const Tensor tensor{.data = values.data(), .count = count, .type = type};
  return question_of({&tensor, 1}, options, transport, native_allowed);
}

TEST(Question, KnowsWhyTheNetworkCannotDoIt) {
  const Named mpi("mpi", true);
  EXPECT_EQ(asked({}, mpi).native_calls, 1u);
  const auto why = [](const Question& question) {
    EXPECT_EQ(question.native_calls, 0u);
    return question.no_native;
  };
  EXPECT_EQ(why(asked({}, mpi, false)), NoNative::check);
  EXPECT_EQ(why(asked({}, Named("mpi", false))), NoNative::thread_level);
  EXPECT_EQ(why(asked({}, Named("ucx", false))), NoNative::transport);
  EXPECT_EQ(why(asked({}, mpi, true, DataType::bf16)), NoNative::type);
  EXPECT_EQ(why(asked({}, mpi, true, DataType::fp32, 0)), NoNative::empty);
  const AllreduceOptions kahan{.wire = Format::floating(4, 3), .accumulate = Accumulate::kahan};
  EXPECT_EQ(why(asked(kahan, mpi)), NoNative::more_than_a_sum);
}

/// Exponents are remembered of `delayed` scaling alone: memory that nobody uses changes nothing.
TEST(Question, IsOfAPlainSumUnlessSomethingIsRemembered) {
  const Named mpi("mpi", true);
  std::array<float, 8> values{};
  ScaleMemory memory;
  const Tensor tensor{.data = values.data(), .count = values.size(), .memory = &memory};
  const auto ask = [&](Scaling::Kind kind) {
    const AllreduceOptions options{.wire = Format::floating(4, 3), .scaling = {kind}};
    return question_of({&tensor, 1}, options, mpi, true);
  };
  EXPECT_TRUE(ask(Scaling::Kind::aps).only_summed);
  EXPECT_EQ(ask(Scaling::Kind::aps).native_calls, 1u);
  EXPECT_FALSE(ask(Scaling::Kind::delayed).only_summed);
}

/// By hosts only where blocks of both formats certainly fit into a message.
TEST(Question, KnowsWhetherTheInnerFormatFits) {
  const Named mpi("mpi", true);
  const auto fits = [&](const char* wire, std::optional<Format> inner) {
    return asked({.wire = Format::parse(wire), .inner = inner}, mpi).inner_fits;
  };
  EXPECT_TRUE(fits("e4m3", Format()));
  EXPECT_TRUE(fits("e4m3", Format::parse("bf16")));
  EXPECT_TRUE(fits("bfp8:64", Format()));
  EXPECT_TRUE(fits("bfp8:32768", std::nullopt));
  EXPECT_FALSE(fits("bfp8:32768", Format()));
  EXPECT_FALSE(fits("e4m3", Format::parse("int4:72")));
}

TEST(Place, HasTheRanksOfTheHostWithTheFewest) {
  const Named ucx("ucx", false);
  const auto place = place_of(ucx, {0, 0, 1, 0, 1, 0});
  EXPECT_EQ(place.transport, "ucx");
  EXPECT_EQ(place.ranks, 6);
  EXPECT_EQ(place.hosts, 2);
  EXPECT_EQ(place.ranks_per_host, 2);
}

TEST(Tuner, TakesTheSegmentsThatWereAskedFor) {
  Tuner tuner({"mpi", 4, 4, 1}, 1000, false);
  EXPECT_EQ(tuner.plan({.bytes = 1e6}).segment_bytes, 1000u);
}

}  // namespace
}  // namespace cpdcomm::testing
