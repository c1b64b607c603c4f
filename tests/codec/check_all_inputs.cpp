// Holds the casts of float formats against the plain ones over all 2^32 inputs, or over a sample.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "codec/codec.hpp"
#include "codec/float_environment.hpp"
#include "codec/targets.hpp"
#include "cpdcomm/error.hpp"
#include "support/bits.hpp"
#include "support/reference_cast.hpp"

namespace cpdcomm::testing {
namespace {

constexpr const char* kAbout = R"(Checks casts over all 2^32 FP32 inputs, nearest-even.

For each format, the kernels of every instruction set of this machine (encode, decode, quantize) are
held against the plain ones, bit for bit; and the plain one, for one input in so many, against
an exact reference that searches for the nearest code with integers.)";

constexpr const char* kExamples = R"(
examples:
  cpdcomm_check_all_inputs                     all inputs of six formats, minutes
  cpdcomm_check_all_inputs e5m5 bf16           other formats
  cpdcomm_check_all_inputs --stride 1021 --reference-every 1    a dense sample, seconds

Ends with 0 when nothing differs, with 1 when something does, with 2 for a wrong command line.)";

constexpr std::uint64_t kInputs = std::uint64_t{1} << 32;

struct Options {
  std::vector<std::string> formats{"e4m3", "e5m2", "e3m0", "e2m1fn", "bf16", "fp16"};
  std::uint64_t stride = 1;
  std::uint64_t reference_every = 61;
  unsigned threads = std::max(1u, std::thread::hardware_concurrency());
};

/// All FP32 inputs, or a sample: one in `stride`, and those next to every multiple of 2^12, where
/// the ties and the ends of binades of all formats of up to ten mantissa bits are.
class Inputs {
 public:
  explicit Inputs(std::uint64_t stride)
      : stride_(stride), strided_((kInputs + stride - 1) / stride) {}

  std::uint64_t size() const { return strided_ + (stride_ == 1 ? 0 : 3 * (kInputs >> 12)); }
  float operator[](std::uint64_t i) const {
    if (i < strided_) return value_of(static_cast<std::uint32_t>(i * stride_));
    const std::uint64_t near = i - strided_;
    return value_of(static_cast<std::uint32_t>((near / 3 << 12) + near % 3 - 1));
  }

 private:
  std::uint64_t stride_;
  std::uint64_t strided_;
};

/// The kernels of one instruction set.
struct Vectors {
  std::string target;
  codec::Codec codec;
};

std::vector<Vectors> all_vectors(Format format) {
  std::vector<Vectors> all;
  for (const std::string& target : codec::targets()) {
    codec::use_target(target);
    if (target != "plain") all.push_back({target, codec::codec_for(format)});
  }
  return all;
}

/// Some inputs one after the other, and what the codecs make of them.
class Batch {
 public:
  static constexpr std::uint64_t kSize = 1 << 14;

  Batch(Format format, std::span<const Vectors> vectors, const Inputs& inputs,
        std::uint64_t reference_every)
      : format_(format),
        vectors_(vectors),
        inputs_(inputs),
        reference_every_(reference_every),
        plain_(codec::plain_codec_for(format)),
        in_(kSize),
        rounded_(kSize),
        wanted_(kSize),
        bytes_(plain_.encoded_size(kSize)),
        wanted_bytes_(bytes_.size()) {}

  /// A sentence on what differs, if anything does.
  std::optional<std::string> check(std::uint64_t first) {
    const std::uint64_t last = std::min(first + kSize, inputs_.size());
    const auto count = static_cast<std::size_t>(last - first);
    for (std::size_t i = 0; i < count; ++i) {
      in_[i] = inputs_[first + i];
    }
    plain_.encode(in_.data(), count, {}, wanted_bytes_.data());
    plain_.round(in_.data(), count, {}, wanted_.data());
    if (auto difference = check_reference(first, count)) return difference;
    for (const Vectors& vectors : vectors_) {
      if (auto difference = check_vectors(vectors, count)) return difference;
    }
    return std::nullopt;
  }

 private:
  std::optional<std::string> check_reference(std::uint64_t first, std::size_t count) const {
    const std::uint64_t every = reference_every_;
    for (auto i = static_cast<std::size_t>((every - first % every) % every); i < count;
         i += every) {
      const float wanted = reference_cast(in_[i], format_);
      if (bits(wanted) != bits(wanted_[i])) {
        return difference("the plain cast", i, wanted_[i], "the reference's", wanted);
      }
    }
    return std::nullopt;
  }

  std::optional<std::string> check_vectors(const Vectors& vectors, std::size_t count) {
    const auto [target, codec] = vectors;
    codec.encode(in_.data(), count, {}, bytes_.data());
    codec.round(in_.data(), count, {}, rounded_.data());
    if (auto difference = check_values(target + "'s quantize", count)) return difference;
    codec.decode(bytes_.data(), count, rounded_.data());
    if (auto difference = check_values(target + "'s decode(encode())", count)) return difference;
    // Of the same values only the codes of a NaN can differ, or bits that no code uses.
    if (std::memcmp(bytes_.data(), wanted_bytes_.data(), plain_.encoded_size(count)) == 0) {
      return std::nullopt;
    }
    return fmt::format("{}: {}'s encode from input {:#010x} on has other bytes of the same values",
                       format_.to_string(), target, bits(in_[0]));
  }

  std::optional<std::string> check_values(const std::string& what, std::size_t count) const {
    for (std::size_t i = 0; i < count; ++i) {
      if (bits(rounded_[i]) == bits(wanted_[i])) continue;
      return difference(what, i, rounded_[i], "the plain", wanted_[i]);
    }
    return std::nullopt;
  }

  std::string difference(const std::string& what, std::size_t i, float got, const char* whose,
                         float wanted) const {
    return fmt::format("{}: {} of {:#010x} ({:a}) is {:a} ({:#010x}), {} is {:a} ({:#010x})",
                       format_.to_string(), what, bits(in_[i]), in_[i], got, bits(got), whose,
                       wanted, bits(wanted));
  }

  Format format_;
  std::span<const Vectors> vectors_;
  const Inputs& inputs_;
  std::uint64_t reference_every_;
  codec::Codec plain_;
  std::vector<float> in_;
  std::vector<float> rounded_;
  std::vector<float> wanted_;
  std::vector<std::byte> bytes_;
  std::vector<std::byte> wanted_bytes_;
};

/// Tells on a terminal how far a format is.
class Progress {
 public:
  Progress(std::string format, std::uint64_t all)
      : format_(std::move(format)), all_(all), shown_(isatty(STDERR_FILENO) != 0) {}
  ~Progress() {
    if (shown_) fmt::print(stderr, "\r{:40}\r", "");
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void at(std::uint64_t done) {
    const std::uint64_t percent = done * 100 / all_;
    if (!shown_ || percent_.exchange(percent) == percent) return;
    fmt::print(stderr, "\r{}: {} %", format_, percent);
  }

 private:
  std::string format_;
  std::uint64_t all_;
  bool shown_;
  std::atomic<std::uint64_t> percent_ = 100;
};

/// The first difference that any of the threads came upon.
std::optional<std::string> check(Format format, const Options& options) {
  const Inputs inputs(options.stride);
  const std::uint64_t all = inputs.size();
  const std::vector<Vectors> vectors = all_vectors(format);
  Progress progress(format.to_string(), all);
  std::atomic<std::uint64_t> next = 0;
  std::mutex finding;
  std::optional<std::string> found;
  const auto work = [&] {
    const codec::FloatEnvironment environment;
    Batch batch(format, vectors, inputs, options.reference_every);
    for (;;) {
      const std::uint64_t first = next.fetch_add(Batch::kSize);
      if (first >= all) return;
      progress.at(first);
      if (auto difference = batch.check(first)) {
        const std::lock_guard lock(finding);
        found = std::move(difference);
        next = all;
      }
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < options.threads; ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  return found;
}

std::string float_format(const std::string& name) {
  try {
    if (Format::parse(name).is_float()) return {};
    return fmt::format("{} has blocks: its casts do not depend on one input alone", name);
  } catch (const Error& error) {
    return error.what();
  }
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app(kAbout, "cpdcomm_check_all_inputs");
  app.footer(kExamples);
  app.add_option("formats", options.formats,
                 "float formats (default: e4m3 e5m2 e3m0 e2m1fn bf16 fp16)")
      ->check(CLI::Validator(float_format, "NAME"))
      ->option_text("NAME ...");
  app.add_option("--stride", options.stride,
                 "check one input in so many, best an odd number, and those where ties can be")
      ->check(CLI::Range(std::uint64_t{1}, kInputs))
      ->capture_default_str();
  app.add_option("--reference-every", options.reference_every,
                 "of what is checked, hold one in so many against the exact reference")
      ->check(CLI::Range(std::uint64_t{1}, kInputs))
      ->capture_default_str();
  app.add_option("--threads", options.threads, "threads")
      ->check(CLI::Range(1u, 4096u))
      ->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }

  bool differs = false;
  for (const std::string& name : options.formats) {
    const auto found = check(Format::parse(name), options);
    fmt::print("{}\n", found ? *found
                             : fmt::format("{}: {} inputs, the same bits", name,
                                           Inputs(options.stride).size()));
    std::fflush(stdout);
    differs = differs || found.has_value();
  }
  return differs ? 1 : 0;
}

}  // namespace
}  // namespace cpdcomm::testing

int main(int argc, char** argv) { return cpdcomm::testing::run(argc, argv); }
