#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include "cpdcomm/error.hpp"
#include "transport/bootstrap.hpp"

namespace cpdcomm::testing {

/// Where ranks of one machine meet: threads of this process or children that it forks later.
class MeetingPlace {
 public:
  explicit MeetingPlace(int ranks) : ranks_(ranks) {
    void* const memory =
        mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    board_ = new (memory) Board{};
  }
  MeetingPlace(const MeetingPlace&) = delete;
  ~MeetingPlace() { munmap(board_, sizeof(Board)); }

  int ranks() const { return ranks_; }

 private:
  friend class LocalBootstrap;
  struct Row {
    std::size_t size;
    std::array<std::byte, 4096> bytes;
  };
  struct Board {
    std::atomic<int> entered;
    std::array<Row, 64> rows;
  };

  int ranks_;
  Board* board_;
};

class LocalBootstrap : public transport::Bootstrap {
 public:
  LocalBootstrap(MeetingPlace& place, int rank) : place_(place), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return place_.ranks_; }

  std::vector<std::vector<std::byte>> allgather(std::span<const std::byte> mine) override {
    auto& rows = place_.board_->rows;
    auto& own = rows[static_cast<std::size_t>(rank_)];
    own.size = mine.size();
    std::ranges::copy(mine, own.bytes.begin());
    meet();
    std::vector<std::vector<std::byte>> all;
    for (int rank = 0; rank < size(); ++rank) {
      const auto& row = rows[static_cast<std::size_t>(rank)];
      all.emplace_back(row.bytes.begin(), row.bytes.begin() + static_cast<long>(row.size));
    }
    meet();
    return all;
  }

  /// Waits for all ranks.
  void meet() {
    wanted_ += size();
    ++place_.board_->entered;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (place_.board_->entered < wanted_) {
      std::this_thread::yield();
      if (std::chrono::steady_clock::now() > deadline) {
        throw Error(ErrorCode::timeout, "a rank did not come");
      }
    }
  }

 private:
  MeetingPlace& place_;
  int rank_;
  int wanted_ = 0;
};

}  // namespace cpdcomm::testing
