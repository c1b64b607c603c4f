#include <cpdcomm/ucx.hpp>
#include <filesystem>
#include <thread>
#include <vector>

// Two ranks that find each other by files; argument: a directory of their own.
int main(int argc, char** argv) {
  if (argc != 2) return 2;
  std::filesystem::remove_all(argv[1]);
  std::filesystem::create_directory(argv[1]);
  std::vector<std::vector<float>> values(2, std::vector<float>(100, 1.0f));
  const auto sum = [&](int rank) {
    cpdcomm::FileBootstrap bootstrap(argv[1], rank, 2);
    cpdcomm::Communicator ranks = cpdcomm::make_ucx_communicator(bootstrap);
    ranks.allreduce(values[static_cast<std::size_t>(rank)],
                    {.wire = cpdcomm::Format::parse("e4m3")});
  };
  std::thread other(sum, 1);
  sum(0);
  other.join();
  return values[0][0] == 2.0f && values[1][99] == 2.0f ? 0 : 1;
}
