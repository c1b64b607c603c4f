#include "codecs/kernels.hpp"
#include "codec/arrays.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>

namespace cpdcomm::perf {
namespace {

// 16 bytes, which every x86-64 and ARM machine reads at once.
using Words = std::uint32_t __attribute__((vector_size(16)));

codec::Place packed_out(const Pass& pass) {
  return {pass.work.packed_out(), pass.values, pass.slice.first};
}
codec::ConstPlace packed(const Pass& pass, std::size_t part) {
  return {pass.work.packed(part), pass.values, pass.slice.first};
}
const float* own(const Pass& pass) { return pass.work.own() + pass.slice.first; }
float* out(const Pass& pass) { return pass.work.out() + pass.slice.first; }

/// The random words of value `first + i` of the slice.
CastOptions cast_at(const Pass& pass, std::size_t first) {
  CastOptions cast = pass.cast;
  if (cast.stochastic) cast.stochastic->first = pass.slice.first + first;
  return cast;
}

void copy(const Pass& pass) { std::memcpy(out(pass), own(pass), pass.slice.count * sizeof(float)); }

void read(const Pass& pass) {
  constexpr std::size_t kStep = sizeof(Words) / sizeof(float);
  constexpr std::size_t kSums = 8;  // enough independent ones to hide an addition's latency
  Words sums[kSums] = {};
  const float* from = own(pass);
  for (std::size_t i = 0; i + kSums * kStep <= pass.slice.count; i += kSums * kStep) {
    for (std::size_t k = 0; k < kSums; ++k) {
      Words words;
      std::memcpy(&words, from + i + k * kStep, sizeof words);
      sums[k] |= words;
    }
  }
  for (const Words& sum : sums) benchmark::DoNotOptimize(sum[0]);
}

void largest(const Pass& pass) {
  benchmark::DoNotOptimize(codec::largest_bits(own(pass), pass.slice.count));
}

void words(const Pass& pass) {
  codec::random_words({.first = pass.slice.first}, pass.slice.count,
                      reinterpret_cast<std::uint32_t*>(out(pass)));
}

void encode(const Pass& pass) {
  pass.codec.encode(own(pass), pass.slice.count, cast_at(pass, 0), packed_out(pass));
}

void quantize(const Pass& pass) {
  pass.codec.round(own(pass), pass.slice.count, cast_at(pass, 0), out(pass));
}

void decode(const Pass& pass) { pass.codec.decode(packed(pass, 0), pass.slice.count, out(pass)); }

void decode_add(const Pass& pass) {
  pass.codec.decode_add(packed(pass, 0), pass.slice.count, out(pass));
}

/// Calls work(sum, first, count) for every tile of the slice, with room for a tile's sums.
template <typename F>
void for_tiles(const Pass& pass, F&& work) {
  const std::size_t tile = pass.codec.tile();
  thread_local std::vector<float> sums;
  sums.resize(tile);
  for (std::size_t first = 0; first < pass.slice.count; first += tile) {
    work(sums.data(), first, std::min(tile, pass.slice.count - first));
  }
}

/// One hop: the own part joins the partial sum that came.
void decode_add_encode(const Pass& pass) {
  for_tiles(pass, [&](float* sums, std::size_t first, std::size_t count) {
    std::copy_n(own(pass) + first, count, sums);
    pass.codec.decode_add(packed(pass, 0) + first, count, sums);
    pass.codec.encode(sums, count, cast_at(pass, first), packed_out(pass) + first);
  });
}

/// What the owner of a chunk does in `direct`: all parts in rank order from +0.
void decode_sum_encode(const Pass& pass) {
  for_tiles(pass, [&](float* sums, std::size_t first, std::size_t count) {
    std::fill_n(sums, count, 0.0f);
    for (std::size_t part = 0; part < Workload::kParts; ++part) {
      pass.codec.decode_add(packed(pass, part) + first, count, sums);
    }
    pass.codec.encode(sums, count, cast_at(pass, first), packed_out(pass) + first);
  });
}

constexpr Kernel kMemory[] = {
    {"memcpy", false, false, copy},
    {"read", false, false, read},
    {"largest", false, false, largest},
    {"random_words", false, false, words},
};

constexpr Kernel kCodec[] = {
    {"encode", false, false, encode},
    {"encode_stochastic", false, true, encode},
    {"quantize", false, false, quantize},
    {"quantize_stochastic", false, true, quantize},
    {"decode", true, false, decode},
    {"decode_add", true, false, decode_add},
    {"decode_add_encode", true, false, decode_add_encode},
    {"decode_add_encode_stochastic", true, true, decode_add_encode},
    {"decode_sum_encode", true, false, decode_sum_encode},
    {"decode_sum_encode_stochastic", true, true, decode_sum_encode},
};

}  // namespace

std::span<const Kernel> memory_kernels() { return kMemory; }
std::span<const Kernel> codec_kernels() { return kCodec; }

}  // namespace cpdcomm::perf
