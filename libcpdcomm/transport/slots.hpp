#pragma once

#include <vector>

#include "transport/transport.hpp"

namespace cpdcomm::transport {

/// Numbers requests: a vector whose freed places are used again.
template <typename T>
class Slots {
 public:
  Request add(T value) {
    if (free_.empty()) {
      values_.push_back(std::move(value));
      return static_cast<Request>(values_.size() - 1);
    }
    const Request request = free_.back();
    free_.pop_back();
    values_[request] = std::move(value);
    return request;
  }
  T& operator[](Request request) { return values_[request]; }
  void remove(Request request) {
    values_[request] = T{};
    free_.push_back(request);
  }

 private:
  std::vector<T> values_;
  std::vector<Request> free_;
};

}  // namespace cpdcomm::transport
