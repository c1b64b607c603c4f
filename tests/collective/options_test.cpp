#include "cpdcomm/options.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "cpdcomm/error.hpp"
#include "cpdcomm/threads.hpp"
#include "cpdcomm/version.hpp"
#include "environment.hpp"

namespace cpdcomm::testing {
namespace {

/// The message of the Error invalid_argument that `work` throws.
template <typename F>
std::string complaint(F&& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return {};
}

void expect_names(const std::string& message, std::initializer_list<const char*> words) {
  for (const char* word : words) EXPECT_NE(message.find(word), std::string::npos) << message;
}

TEST(Options, ReadWhatTheyPrint) {
  for (int i = 0; i <= static_cast<int>(ReduceOp::bit_xor); ++i) {
    const auto op = static_cast<ReduceOp>(i);
    EXPECT_EQ(parse_reduce_op(to_string(op)), op);
  }
  for (const auto accumulate : {Accumulate::wide, Accumulate::rounded, Accumulate::kahan}) {
    EXPECT_EQ(parse_accumulate(to_string(accumulate)), accumulate);
  }
  for (const auto algorithm : {Algorithm::automatic, Algorithm::direct, Algorithm::ring,
                               Algorithm::tree, Algorithm::halving_doubling}) {
    EXPECT_EQ(parse_algorithm(to_string(algorithm)), algorithm);
  }
  for (const Scaling scaling :
       {Scaling{}, Scaling{Scaling::Kind::none, 0}, Scaling{Scaling::Kind::aps, 0},
        Scaling{Scaling::Kind::aps, 8}, Scaling{Scaling::Kind::aps, 4096}}) {
    EXPECT_EQ(parse_scaling(to_string(scaling)), scaling) << to_string(scaling);
  }
}

TEST(Options, NameWhatTheyCannotRead) {
  expect_names(complaint([] { parse_reduce_op("mean"); }), {"'mean'", "sum", "avg", "bxor"});
  expect_names(complaint([] { parse_accumulate(""); }), {"''", "wide", "rounded", "kahan"});
  expect_names(complaint([] { parse_algorithm("Ring"); }), {"'Ring'", "automatic", "ring"});
  for (const char* text : {"", "APS", "aps:", "aps:0", "aps:12", "aps:-8", "aps:8 ", "aps:8x",
                           "aps: 8", "aps:99999999999999999999", "none:8"}) {
    expect_names(complaint([&] { parse_scaling(text); }), {text, "aps:512"});
  }
}

TEST(Options, LoseNoPrecisionByDefault) {
  const AllreduceOptions options;
  EXPECT_TRUE(options.wire.is_fp32());
  EXPECT_EQ(options.op, ReduceOp::sum);
  EXPECT_EQ(options.accumulate, Accumulate::wide);
  EXPECT_EQ(options.emulate_nodes, 1);
}

TEST(Version, IsThatOfTheHeaders) {
  const std::string headers = std::to_string(CPDCOMM_VERSION_MAJOR) + "." +
                              std::to_string(CPDCOMM_VERSION_MINOR) + "." +
                              std::to_string(CPDCOMM_VERSION_PATCH);
  EXPECT_EQ(version(), headers);
}

TEST(ErrorCodes, HaveNames) {
  for (const auto code : {ErrorCode::invalid_argument, ErrorCode::unsupported, ErrorCode::mismatch,
                          ErrorCode::timeout, ErrorCode::peer_failed}) {
    EXPECT_STRNE(to_string(code), "unknown");
  }
}

// The variables are read once in a process, so each case takes a process of its own.
using Variables = std::map<std::string, std::string>;

/// Ends the process with 0 if work() returns true under these variables.
template <typename F>
void exit_under(const Variables& variables, F&& work) {
  for (const auto& [name, value] : variables) setenv(name.c_str(), value.c_str(), 1);
  try {
    std::_Exit(work() ? 0 : 1);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::_Exit(2);
  }
}

template <typename F>
void expect_under(const Variables& variables, int code, const std::string& says, F&& work) {
  EXPECT_EXIT(exit_under(variables, work), ::testing::ExitedWithCode(code), says);
}

TEST(EnvironmentDeathTest, FillsTheOptions) {
  expect_under({{"CPDCOMM_WIRE", "e4m3"},
                {"CPDCOMM_SCALING", "aps:512"},
                {"CPDCOMM_ACCUMULATE", "kahan"},
                {"CPDCOMM_ALGORITHM", "ring"},
                {"CPDCOMM_TIMEOUT", "0.5"}},
               0, "^$", [] {
                 const AllreduceOptions& options = environment_options();
                 return options.wire == Format::floating(4, 3) && options.scaling.group == 512 &&
                        options.accumulate == Accumulate::kahan &&
                        options.algorithm == Algorithm::ring &&
                        options.timeout == std::chrono::milliseconds(500);
               });
  expect_under({}, 0, "^$", [] { return environment_options().wire.is_fp32(); });
}

TEST(EnvironmentDeathTest, CanForbidSharedMemory) {
  expect_under({}, 0, "^$", [] { return environment().shared_memory; });
  expect_under({{"CPDCOMM_SHARED_MEMORY", "on"}}, 0, "^$",
               [] { return environment().shared_memory; });
  expect_under({{"CPDCOMM_SHARED_MEMORY", "off"}}, 0, "^$",
               [] { return !environment().shared_memory; });
}

TEST(EnvironmentDeathTest, SaysHowManyThreadsAndBytes) {
  expect_under({{"CPDCOMM_CODEC_THREADS", "3"}, {"CPDCOMM_SEGMENT_BYTES", "4096"}}, 0, "^$", [] {
    return environment().codec_threads == 3 && environment().segment_bytes == 4096;
  });
  const auto make = [] { return make_thread_communicators(2).size() == 2; };
  expect_under({{"CPDCOMM_CODEC_THREADS", "2"}, {"CPDCOMM_SEGMENT_BYTES", "4096"}}, 0, "^$", make);
  expect_under({{"CPDCOMM_CODEC_THREADS", "1000"}}, 2, "1000.*256", make);
  expect_under({{"CPDCOMM_SEGMENT_BYTES", "3"}}, 2, "is 3; allowed is 64", make);
}

TEST(EnvironmentDeathTest, SelectsWhatTravelsInTheWireFormat) {
  expect_under({}, 0, "^$", [] {
    const Selection& selection = environment_selection();
    return selection.all_reduce && !selection.reduce_scatter && !selection.all_gather &&
           selection.min_bytes == 4096;
  });
  expect_under({{"CPDCOMM_MIN_BYTES", "0"}, {"CPDCOMM_COLLECTIVES", "reduce_scatter,all_gather"}},
               0, "^$", [] {
                 const Selection& selection = environment_selection();
                 return !selection.all_reduce && selection.reduce_scatter && selection.all_gather &&
                        selection.min_bytes == 0;
               });
  const auto read = [] { return &environment_selection() != nullptr; };
  expect_under({{"CPDCOMM_COLLECTIVES", "all_reduce,gather"}}, 2,
               "CPDCOMM_COLLECTIVES.*'gather'.*known are all_reduce", read);
}

TEST(EnvironmentDeathTest, ChoosesATransport) {
  expect_under({}, 0, "^$", [] { return environment_transport() == "auto"; });
  expect_under({{"CPDCOMM_TRANSPORT", "ucx"}}, 0, "^$",
               [] { return environment_transport() == "ucx"; });
  expect_under({{"CPDCOMM_TRANSPORT", "tcp"}}, 2, "CPDCOMM_TRANSPORT.*'tcp'.*auto, mpi, ucx",
               [] { return environment_transport().empty(); });
}

TEST(EnvironmentDeathTest, SaysWhatIsInForce) {
  expect_under({{"CPDCOMM_DEBUG", "info"}, {"CPDCOMM_WIRE", "e5m2"}}, 0, "wire=e5m2",
               [] { return environment_options().wire == Format::floating(5, 2); });
}

TEST(EnvironmentDeathTest, WarnsOfNamesThatItDoesNotKnow) {
  expect_under({{"CPDCOMM_WIER", "e5m2"}}, 0, "CPDCOMM_WIER; did you mean CPDCOMM_WIRE",
               [] { return environment_options().wire.is_fp32(); });
}

TEST(EnvironmentDeathTest, NamesTheVariableThatIsWrong) {
  const auto read = [] { return &environment_options() != nullptr; };
  expect_under({{"CPDCOMM_WIRE", "e9m9"}}, 2, "CPDCOMM_WIRE.*e9m9", read);
  expect_under({{"CPDCOMM_SCALING", "aps:3"}}, 2, "CPDCOMM_SCALING.*aps:3", read);
  for (const char* time : {"0", "-1", "soon", "1e30", "nan", "inf", "", "5s"}) {
    expect_under({{"CPDCOMM_TIMEOUT", time}}, 2, "CPDCOMM_TIMEOUT.*positive", read);
  }
  expect_under({{"CPDCOMM_SHARED_MEMORY", "no"}}, 2, "CPDCOMM_SHARED_MEMORY.*on, off", read);
  expect_under({{"CPDCOMM_DEBUG", "yes"}}, 2, "CPDCOMM_DEBUG.*yes", read);
  expect_under({{"CPDCOMM_CODEC_THREADS", "-1"}}, 2, "CPDCOMM_CODEC_THREADS.*0 to 2.31", read);
  expect_under({{"CPDCOMM_SEGMENT_BYTES", "4K"}}, 2, "CPDCOMM_SEGMENT_BYTES.*4K", read);
  expect_under({{"CPDCOMM_CHECK", "maybe"}}, 2, "CPDCOMM_CHECK.*maybe", read);
}

}  // namespace
}  // namespace cpdcomm::testing
