// A wrong sum is found: this is cpd-allreduce-perf with some bits changed before each check. Ends
// well when the program finds as many wrong values as there are.
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "allreduce/program.hpp"

namespace {

using cpdcomm::perf::Buffer;
using cpdcomm::perf::Spoiler;

void flip_last_bit(Buffer& sum, std::size_t value) {
  static_cast<unsigned char*>(sum.data())[value * size_of(sum.type())] ^= 1;
}

const std::map<std::string, Spoiler> kWays{
    {"one_rank",
     [](int rank, Buffer& sum) {
       if (rank == 1) flip_last_bit(sum, 77);
     }},
    {"all_ranks", [](int, Buffer& sum) { flip_last_bit(sum, 77); }},
    {"last_value", [](int, Buffer& sum) { flip_last_bit(sum, sum.count() - 1); }},
    {"never", {}}};

}  // namespace

/// @param argv  the way, the exit code that is right, and the program's own arguments
int main(int argc, char** argv) {
  const Spoiler spoiler = kWays.at(argv[1]);
  const int right = std::atoi(argv[2]);
  return cpdcomm::perf::run_allreduce_perf(argc - 2, argv + 2, spoiler) == right ? 0 : 1;
}
