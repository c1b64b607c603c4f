#pragma once

#include <mpi.h>

#include <algorithm>
#include <mutex>
#include <span>
#include <vector>

#include "transport/mpi_turns.hpp"

namespace cpdcomm::transport {

/// Where MPI allows one thread at a time, a thread that waits inside MPI_Comm_create_group keeps
/// all others out, and a rank that it waits for may need one of those to come that far: one that
/// sums, or one that makes another group. So nobody goes in before all have come, and no process is
/// in two at once: the lowest rank reserves the members one by one, in ascending order, which makes
/// no circle. The words for it are empty messages in MPI_COMM_WORLD, from the top of the tags.
class GroupMeeting {
 public:
  GroupMeeting(std::span<const int> ranks, int tag)
      : lowest_(*std::ranges::min_element(ranks)), others_(ranks.begin(), ranks.end()) {
    int own = 0;
    int* largest = nullptr;
    int found = 0;
    const auto lock = turn();
    MPI_Comm_rank(MPI_COMM_WORLD, &own);
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &largest, &found);
    tag_ = (found != 0 ? *largest : kSmallestTagLimit) - tag;
    std::erase(others_, own);
    std::ranges::sort(others_);
    leads_ = own == lowest_;
  }

  /// Waits until all have come. Until what it returns is let go, this process is in no other group.
  std::unique_lock<std::mutex> meet() {
    static std::mutex reserved;
    if (leads_) {
      for (const int other : others_) hear(other);
      std::unique_lock lock(reserved);
      for (const int other : others_) {
        say(other);
        hear(other);
      }
      for (const int other : others_) say(other);
      return lock;
    }
    say(lowest_);
    hear(lowest_);
    std::unique_lock lock(reserved);
    say(lowest_);
    hear(lowest_);
    return lock;
  }

 private:
  static constexpr int kSmallestTagLimit = 32767;  // of all that MPI allows

  void say(int rank) const {
    wait_in_turns("MPI_Isend", [&](MPI_Request* request) {
      return MPI_Isend(nullptr, 0, MPI_BYTE, rank, tag_, MPI_COMM_WORLD, request);
    });
  }
  void hear(int rank) const {
    wait_in_turns("MPI_Irecv", [&](MPI_Request* request) {
      return MPI_Irecv(nullptr, 0, MPI_BYTE, rank, tag_, MPI_COMM_WORLD, request);
    });
  }

  int lowest_;
  std::vector<int> others_;
  int tag_ = 0;
  bool leads_ = false;
};

/// A communicator of some ranks of MPI_COMM_WORLD. Only they call, all with the same list and tag.
inline MPI_Comm make_group(std::span<const int> ranks, int tag) {
  std::unique_lock<std::mutex> alone;
  if (takes_turns()) alone = GroupMeeting(ranks, tag).meet();
  const auto lock = turn();
  MPI_Group world = MPI_GROUP_NULL;
  MPI_Group group = MPI_GROUP_NULL;
  MPI_Comm comm = MPI_COMM_NULL;
  check(MPI_Comm_group(MPI_COMM_WORLD, &world), "MPI_Comm_group");
  check(MPI_Group_incl(world, static_cast<int>(ranks.size()), ranks.data(), &group),
        "MPI_Group_incl");
  check(MPI_Comm_create_group(MPI_COMM_WORLD, group, tag, &comm), "MPI_Comm_create_group");
  MPI_Group_free(&group);
  MPI_Group_free(&world);
  return comm;
}

}  // namespace cpdcomm::transport
