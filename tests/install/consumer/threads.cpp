#include <cpdcomm/cpdcomm.hpp>
#include <cstdio>
#include <thread>
#include <vector>

int main() {
  std::vector<cpdcomm::Communicator> ranks = cpdcomm::make_thread_communicators(2);
  std::vector<std::vector<float>> values(2, std::vector<float>(100, 1.0f));
  const auto sum = [&](std::size_t rank) {
    ranks[rank].allreduce(values[rank], {.wire = cpdcomm::Format::parse("e4m3")});
  };
  std::thread other(sum, 1);
  sum(0);
  other.join();
  std::printf("cpdcomm %s: 1 + 1 = %g\n", cpdcomm::version(), static_cast<double>(values[1][99]));
  return values[0][0] == 2.0f && values[1][99] == 2.0f ? 0 : 1;
}
