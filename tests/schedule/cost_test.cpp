// Predicted times against values worked out by hand.
#include "schedule/cost.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <vector>

#include "cpdcomm/error.hpp"
#include "schedule/schedule.hpp"

namespace cpdcomm::testing {
namespace {

using schedule::CodecRates;
using schedule::Coding;
using schedule::Cost;
using schedule::Network;
using schedule::predict;
using schedule::Shape;
using schedule::Task;

constexpr double kNever = 1e30;  // bytes per second that take no time
constexpr CodecRates kNoCodec{kNever, kNever, kNever, kNever};
constexpr Coding kFp32{{32, 32, 32}, kNoCodec};
constexpr Shape kShapes[] = {Shape::direct, Shape::ring, Shape::tree, Shape::halving_doubling,
                             Shape::exchange};

Task task_of(Shape shape, int hosts, int ranks_per_host, double bytes) {
  return {shape, false, hosts, ranks_per_host, bytes, kFp32, kFp32, 64 * 1024, 0};
}

/// Only links between hosts take time: 10^6 bytes per second.
constexpr Network kLinks{0, 0, kNever, 1e6, 0, kNever};

/// Seconds that the busiest link needs for a vector of 10^6 bytes.
double wire(Shape shape, int hosts, int ranks_per_host = 1) {
  return predict(kLinks, task_of(shape, hosts, ranks_per_host, 1e6)).wire;
}

TEST(Cost, BytesOfFlatAlgorithms) {
  // 2 (N - 1) / N vectors.
  for (const Shape shape : {Shape::direct, Shape::ring, Shape::halving_doubling}) {
    EXPECT_DOUBLE_EQ(wire(shape, 1), 0);
    EXPECT_DOUBLE_EQ(wire(shape, 2), 1);
    EXPECT_DOUBLE_EQ(wire(shape, 4), 1.5);
    EXPECT_DOUBLE_EQ(wire(shape, 65536), 2 * 65535.0 / 65536);
  }
  // Up two halves, down two halves; of two ranks each does one of these.
  EXPECT_DOUBLE_EQ(wire(Shape::tree, 2), 1);
  EXPECT_DOUBLE_EQ(wire(Shape::tree, 100), 2);
  EXPECT_DOUBLE_EQ(wire(Shape::exchange, 4), 3);
  // Two ranks send one the chunk of that one, which it gives both of them; then two swap.
  EXPECT_DOUBLE_EQ(wire(Shape::halving_doubling, 3), 2);
}

TEST(Cost, BytesThatLeaveAHost) {
  // Each of 2 x 4 ranks sends its parts of 4 chunks of 1/8, and 4 results of 1/8: 4 x (1/2 + 1/2).
  EXPECT_DOUBLE_EQ(wire(Shape::direct, 2, 4), 4);
  // One rank of a host has its next on another host.
  EXPECT_DOUBLE_EQ(wire(Shape::ring, 2, 4), 2 * 7.0 / 8);
  // The first level leaves the host: half a vector of each rank, there and back.
  EXPECT_DOUBLE_EQ(wire(Shape::halving_doubling, 2, 4), 4);
  EXPECT_DOUBLE_EQ(wire(Shape::exchange, 2, 4), 16);
  // What schedule::tree sends, counted: see BytesOfTheTreeAreThoseOfItsSchedule.
  EXPECT_DOUBLE_EQ(wire(Shape::tree, 2, 4), 2);
  EXPECT_DOUBLE_EQ(wire(Shape::tree, 4, 4), 3);
  for (const Shape shape : kShapes) EXPECT_NEAR(wire(shape, 1, 8), 0, 1e-20);
}

/// The most vectors that leave a host under schedule::tree.
double tree_leaves(int hosts, int per_host) {
  std::vector<double> vectors(static_cast<std::size_t>(hosts));
  for (int rank = 0; rank < hosts * per_host; ++rank) {
    const schedule::Schedule tree = schedule::tree(rank, hosts * per_host);
    for (const auto& step : tree.steps) {
      for (const auto& message : step.send) {
        if (message.peer / per_host == rank / per_host) continue;
        vectors[static_cast<std::size_t>(rank / per_host)] += 1.0 / tree.chunks;
      }
    }
  }
  return std::ranges::max(vectors);
}

TEST(Cost, BytesOfTheTreeAreThoseOfItsSchedule) {
  for (const int per_host : {1, 2, 4, 8}) {
    for (const int hosts : {2, 4, 8, 16}) {
      EXPECT_DOUBLE_EQ(wire(Shape::tree, hosts, per_host), tree_leaves(hosts, per_host))
          << hosts << " x " << per_host;
    }
    for (const int hosts : {5, 6, 7, 9, 15}) {
      const double leaves = tree_leaves(hosts, per_host);
      EXPECT_GE(leaves, wire(Shape::tree, hosts, per_host)) << hosts << " x " << per_host;
      EXPECT_LE(leaves, wire(Shape::tree, hosts, per_host) + 1) << hosts << " x " << per_host;
    }
  }
}

TEST(Cost, HierarchicalSendsWhatHostsSend) {
  Task task = task_of(Shape::ring, 4, 8, 1e6);
  task.hierarchical = true;
  EXPECT_DOUBLE_EQ(predict(kLinks, task).wire, 1.5);
  // Inside: 7/8 of the parts out, 7/8 of the results out, at 10^6 bytes per second.
  EXPECT_DOUBLE_EQ(predict({0, 0, 1e6, kNever, 0, kNever}, task).wire, 1.75);
  // Eight bits between hosts and FP32 inside.
  task.coding.bits = {8, 8, 8};
  EXPECT_DOUBLE_EQ(predict(kLinks, task).wire, 0.375);
  EXPECT_DOUBLE_EQ(predict({0, 0, 1e6, kNever, 0, kNever}, task).wire, 1.75);
}

TEST(Cost, KindsOfMessagesHaveBitsOfTheirOwn) {
  Task task = task_of(Shape::direct, 4, 1, 1e6);
  task.coding.bits = {8, 1000, 16};
  EXPECT_DOUBLE_EQ(predict(kLinks, task).wire, 0.75 * (8 + 16) / 32);
  task.shape = Shape::ring;
  task.coding.bits = {1000, 10, 16};
  EXPECT_DOUBLE_EQ(predict(kLinks, task).wire, 0.75 * (10 + 16) / 32);
}

TEST(Cost, LatencyIsThatOfTheLongestWay) {
  const Network network{1, 100, kNever, kNever, 0, kNever};
  const auto seconds = [&](Shape shape, int hosts, int ranks_per_host = 1) {
    return predict(network, task_of(shape, hosts, ranks_per_host, 4)).latency;
  };
  EXPECT_DOUBLE_EQ(seconds(Shape::direct, 8), 200);
  EXPECT_DOUBLE_EQ(seconds(Shape::exchange, 8), 100);
  EXPECT_DOUBLE_EQ(seconds(Shape::ring, 8), 1400);
  EXPECT_DOUBLE_EQ(seconds(Shape::tree, 8), 600);
  EXPECT_DOUBLE_EQ(seconds(Shape::halving_doubling, 8), 600);
  EXPECT_DOUBLE_EQ(seconds(Shape::halving_doubling, 9), 800);
  EXPECT_DOUBLE_EQ(seconds(Shape::direct, 1, 8), 2);
  EXPECT_DOUBLE_EQ(seconds(Shape::halving_doubling, 2, 4), 204);
  // 14 hops, two of eight links between hosts.
  EXPECT_DOUBLE_EQ(seconds(Shape::ring, 2, 4), 3.5 * 100 + 10.5);
  for (const Shape shape : kShapes) EXPECT_DOUBLE_EQ(seconds(shape, 1), 0);
  Task task = task_of(Shape::direct, 4, 8, 4);
  task.hierarchical = true;
  EXPECT_DOUBLE_EQ(predict(network, task).latency, 202);
}

TEST(Cost, CodecVisitsEachValueTwiceInARingAndThreeTimesInDirect) {
  const Network nothing{0, 0, kNever, kNever, 0, kNever};
  Task task = task_of(Shape::ring, 1024, 1, 1e6);
  task.coding.rates = {1e6, 1e6, 1e6, kNever};
  EXPECT_DOUBLE_EQ(predict(nothing, task).codec, 2);
  task.shape = Shape::direct;
  EXPECT_NEAR(predict(nothing, task).codec, 3, 1e-3);
  task.coding.rates = {1e6, kNever, kNever, kNever};
  task.hosts = 4;
  EXPECT_DOUBLE_EQ(predict(nothing, task).codec, 1.25);  // the part, and the own chunk's result
}

TEST(Cost, ExponentsNeedAPassAndASmallAllreduceBefore) {
  const Network network{0, 10, kNever, kNever, 1, kNever};
  Task task = task_of(Shape::direct, 3, 1, 1e6);
  task.coding.rates.scan = 1e6;
  const Cost plain = predict(network, task);
  task.phases_before = 1;
  const Cost scaled = predict(network, task);
  // Two messages behind each other, and four that each rank sends.
  EXPECT_NEAR(scaled.seconds - plain.seconds, 1 + 2 * 10 + 4, 1e-9);
  EXPECT_NEAR(scaled.latency - plain.latency, 2 * 10 + 4, 1e-9);
  EXPECT_NEAR(scaled.codec - plain.codec, 1, 1e-9);
}

TEST(Cost, OneSegmentWaitsForWireAndCodecByTurnsManyForTheSlowerOne) {
  Network network{0, 0, kNever, 1e6, 0, kNever};
  Task task = task_of(Shape::ring, 2, 1, 1e6);        // 1 s of wire
  task.coding.rates = {kNever, 2e6, kNever, kNever};  // 0.5 s of codec
  task.segment_bytes = 1e6;
  EXPECT_NEAR(predict(network, task).seconds, 1.5, 1e-9);
  task.segment_bytes = 500e3 / 10;  // ten in a chunk
  EXPECT_NEAR(predict(network, task).seconds, 0.15 + 0.9 * 1, 1e-9);
  network.across_bytes_per_second = 10e6;
  EXPECT_NEAR(predict(network, task).seconds, 0.06 + 0.9 * 0.5, 1e-9);
}

TEST(Cost, APartOfATreeSegmentMeetsEveryLevel) {
  Task task = task_of(Shape::tree, 8, 1, 1e6);
  task.segment_bytes = 1e6;
  EXPECT_NEAR(predict(kLinks, task).seconds, 3 * 2, 1e-9);
  task.segment_bytes = 500e3 / 100;
  EXPECT_NEAR(predict(kLinks, task).seconds, 0.03 * 2 + 0.99 * 2, 1e-9);
}

TEST(Cost, MessagesKeepTheProcessorBusy) {
  const Network network{0, 0, kNever, kNever, 1e-3, kNever};
  Task task = task_of(Shape::direct, 5, 1, 4);
  EXPECT_NEAR(predict(network, task).seconds, 8e-3, 1e-12);
  task.bytes = 5 * 64 * 1024 * 10;  // ten segments in a chunk
  EXPECT_NEAR(predict(network, task).codec, 80e-3, 1e-9);
  task.shape = Shape::exchange;
  task.bytes = 4;
  EXPECT_NEAR(predict(network, task).seconds, 4e-3, 1e-12);
}

TEST(Cost, BytesOfOtherHostsKeepTheProcessorBusy) {
  const Network network{0, 0, kNever, kNever, 0, 1e6};
  const auto codec = [&](Shape shape, int hosts, int ranks_per_host, bool hierarchical = false) {
    Task task = task_of(shape, hosts, ranks_per_host, 1e6);
    task.hierarchical = hierarchical;
    return predict(network, task).codec;
  };
  EXPECT_NEAR(codec(Shape::ring, 4, 1), 2 * 1.5, 1e-9);
  // All ranks of a host send: 1/2 of the vector twice. In a ring one of them does.
  EXPECT_NEAR(codec(Shape::direct, 2, 4), 2 * 1, 1e-9);
  EXPECT_NEAR(codec(Shape::halving_doubling, 2, 4), 2 * 1, 1e-9);
  EXPECT_NEAR(codec(Shape::ring, 2, 4), 2 * 2 * 7.0 / 8, 1e-9);
  EXPECT_NEAR(codec(Shape::exchange, 2, 4), 2 * 4, 1e-9);
  EXPECT_NEAR(codec(Shape::ring, 2, 4, true), 2 * 1.0 / 4, 1e-9);
  EXPECT_NEAR(codec(Shape::direct, 1, 4), 0, 1e-9);
}

TEST(Cost, CastsOfAValue) {
  const auto casts = [](Shape shape, int ranks) {
    return predict(kLinks, task_of(shape, ranks, 1, 1e6)).casts;
  };
  for (const int ranks : {2, 3, 8, 64, 65536}) {
    EXPECT_EQ(casts(Shape::direct, ranks), 2);
    EXPECT_EQ(casts(Shape::exchange, ranks), 2);
    EXPECT_EQ(casts(Shape::ring, ranks), ranks);
  }
  EXPECT_EQ(casts(Shape::tree, 8), 4);
  EXPECT_EQ(casts(Shape::halving_doubling, 8), 4);
  EXPECT_EQ(casts(Shape::halving_doubling, 9), 5);
  EXPECT_EQ(casts(Shape::tree, 65536), 17);
  Task task = task_of(Shape::ring, 4, 8, 1e6);
  task.hierarchical = true;
  EXPECT_EQ(predict(kLinks, task).casts, 4);
  task.inside.bits = {8, 8, 8};
  EXPECT_EQ(predict(kLinks, task).casts, 5);
}

TEST(Cost, NeverLessForMoreBytes) {
  const Network network{1e-6, 20e-6, 5e9, 1.2e8, 5e-6, 2e9};
  for (const Shape shape : kShapes) {
    for (const int hosts : {1, 2, 3, 7, 64}) {
      for (const int ranks : {1, 2, 8}) {
        Task task = task_of(shape, hosts, ranks, 1);
        task.coding = {{8, 9, 10}, {9e9, 8e9, 3e9, 20e9}};
        for (const bool hierarchical : {false, true}) {
          task.hierarchical = hierarchical && shape != Shape::exchange;
          double before = 0;
          for (task.bytes = 1; task.bytes < 1e10; task.bytes *= 1.3) {
            const double seconds = predict(network, task).seconds;
            EXPECT_GE(seconds, before) << hosts << " x " << ranks << ", " << task.bytes;
            before = seconds;
          }
        }
      }
    }
  }
}

TEST(Cost, TheGainOfFewBitsEndsWhereTheCodecIsTheLimit) {
  // measured.md's model: a gain of min(32 / bits, 2 C / (v B)), here 4 and 2 x 2 / (2 x 1) = 2.
  Task task = task_of(Shape::ring, 1024, 1, 1e12);
  const double fp32 = predict(kLinks, task).seconds;
  task.coding.bits = {8, 8, 8};
  EXPECT_NEAR(fp32 / predict(kLinks, task).seconds, 4, 0.01);
  task.coding.rates = {2e6, 2e6, 2e6, kNever};
  EXPECT_NEAR(fp32 / predict(kLinks, task).seconds, 2, 0.01);
}

TEST(Cost, TakesMicrosecondsForAnyNumberOfRanks) {
  constexpr int kCalls = 10000;
  const auto begin = std::chrono::steady_clock::now();
  double sum = 0;
  for (int i = 0; i < kCalls; ++i) {
    sum += predict(kLinks, task_of(Shape::halving_doubling, 65536, 1, i)).seconds;
  }
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
  EXPECT_GT(sum, 0);
  EXPECT_LT(passed.count() / kCalls, 20e-6);
}

TEST(Cost, RefusesWhatCannotBe) {
  const std::function<void(Network&, Task&)> mistakes[] = {
      [](Network&, Task& task) { task.hosts = 0; },
      [](Network&, Task& task) { task.ranks_per_host = 0; },
      [](Network&, Task& task) { task.hosts = task.ranks_per_host = 1 << 20; },
      [](Network&, Task& task) { task.bytes = -1; },
      [](Network&, Task& task) { task.bytes = std::nan(""); },
      [](Network&, Task& task) { task.segment_bytes = 0; },
      [](Network&, Task& task) { task.phases_before = -1; },
      [](Network&, Task& task) { task.coding.bits.part = 0; },
      [](Network&, Task& task) { task.coding.rates.join = 0; },
      [](Network&, Task& task) { task.inside.rates.scan = -1; },
      [](Network&, Task& task) { task.hierarchical = true, task.shape = Shape::exchange; },
      [](Network& network, Task&) { network.across_bytes_per_second = 0; },
      [](Network& network, Task&) { network.inside_bytes_per_second = -5; },
      [](Network& network, Task&) { network.cpu_bytes_per_second = 0; },
      [](Network& network, Task&) { network.latency_across = -1; },
      [](Network& network, Task&) { network.cpu_seconds_per_message = -1; },
  };
  for (std::size_t i = 0; i < std::size(mistakes); ++i) {
    Network network = kLinks;
    Task task = task_of(Shape::ring, 4, 1, 1e6);
    EXPECT_NO_THROW(predict(network, task));
    mistakes[i](network, task);
    try {
      predict(network, task);
      ADD_FAILURE() << "mistake " << i << " was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    }
  }
}

TEST(BuiltinRates, AreThoseOfTheFormatOrOfTheNearestOfItsKind) {
  const auto encode = [](const char* name) {
    return schedule::builtin_codec_rates(Format::parse(name)).encode;
  };
  EXPECT_DOUBLE_EQ(encode("e4m3"), 19.1e9);
  EXPECT_DOUBLE_EQ(encode("bf16"), 16.4e9);
  EXPECT_DOUBLE_EQ(encode("bfp4"), encode("bfp8"));
  EXPECT_DOUBLE_EQ(encode("int2"), encode("int4"));
  EXPECT_DOUBLE_EQ(encode("int12"), encode("int8"));
  EXPECT_DOUBLE_EQ(encode("e2m1fn"), encode("e3m0"));
  EXPECT_DOUBLE_EQ(encode("e8m20"), encode("bf16"));
  EXPECT_DOUBLE_EQ(encode("sign"), 22.1e9);
  EXPECT_DOUBLE_EQ(encode("fp32"), 10.5e9);
}

}  // namespace
}  // namespace cpdcomm::testing
