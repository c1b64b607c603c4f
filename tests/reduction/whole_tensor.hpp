#pragma once

#include <memory>
#include <vector>

#include "reduction/float_reduction.hpp"

// One rank's reduction of one tensor, in messages of the whole tensor.
namespace cpdcomm::testing {

using Bytes = std::vector<std::byte>;

class WholeTensor {
 public:
  /// What of a rank's call is not in its tensor.
  struct Call {
    Accumulate accumulate = Accumulate::wide;
    bool parts_travel = true;
    float divisor = 1;
    std::optional<RandomStream> draws = {};
    std::vector<std::uint32_t> host_ranks = {};
  };

  /// @param tensor   its sources, unless there are some, are `parts`; its destination is `out`
  WholeTensor(reduction::FloatTensor tensor, std::vector<std::vector<float>> parts, Call call)
      : parts_(std::move(parts)), out_(parts_.front().size()) {
    for (const auto& part : parts_) tensor.sources.push_back(part.data());
    tensor.destination = out_.data();
    tensor.count = out_.size();
    tensor.type = DataType::fp32;
    range_ = {0, 0, out_.size()};
    reduction_ = reduction::make_float_reduction(call.accumulate, {tensor}, call.parts_travel,
                                                 call.divisor, call.draws, call.host_ranks);
  }

  reduction::FloatReduction* operator->() { return reduction_.get(); }
  const std::vector<float>& out() const { return out_; }

  Bytes part(const reduction::Host& host = {}, Leg leg = Leg::across_hosts) {
    Bytes bytes(reduction_->bytes(0, range_.count, {Payload::part, 1, leg}));
    reduction_->encode_part({&range_, 1}, host, leg, bytes.data());
    return bytes;
  }
  Bytes join(const reduction::Join& join, Content content) {
    Bytes bytes(reduction_->bytes(0, range_.count, content));
    reduction_->join({&range_, 1}, join, content, bytes.data());
    return bytes;
  }
  std::vector<float> keep(const reduction::Join& join) {
    reduction_->keep({&range_, 1}, join);
    return out_;
  }
  std::vector<float> deliver(const Bytes& result) {
    reduction_->deliver({&range_, 1}, result.data());
    return out_;
  }

 private:
  std::vector<std::vector<float>> parts_;
  std::vector<float> out_;
  reduction::Range range_;
  std::unique_ptr<reduction::FloatReduction> reduction_;
};

inline reduction::FloatTensor tensor_of(const char* wire) {
  reduction::FloatTensor tensor{};
  tensor.codec = codec::codec_for(Format::parse(wire));
  return tensor;
}

/// x * 2^shift cast to a format, at the scale of the format.
inline std::vector<float> cast_of(std::vector<float> values, const char* format, int shift = 0,
                                  bool saturate = false) {
  quantize(values, Format::parse(format), values, {.shift = shift, .saturate = saturate});
  return values;
}

inline std::vector<float> decoded(const Bytes& bytes, const char* format, std::size_t count) {
  std::vector<float> values(count);
  decode(std::span(bytes).first(encoded_size(Format::parse(format), count)), Format::parse(format),
         values);
  return values;
}

}  // namespace cpdcomm::testing
