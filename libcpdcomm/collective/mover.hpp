#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "collective/session.hpp"

namespace cpdcomm::collective {

/// Carries transfers on while no call does. There is no thread until the first transfer is.
class Mover {
 public:
  explicit Mover(Session& session) : session_(session) {}
  ~Mover();
  Mover(const Mover&) = delete;

  /// After a transfer was posted.
  void wake();

 private:
  void serve();
  bool wait_for_work();

  Session& session_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool end_ = false;
  std::thread thread_;
};

}  // namespace cpdcomm::collective
