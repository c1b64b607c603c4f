#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>
#include <optional>
#include <thread>
#include <utility>

#include "cpdcomm/bootstrap.hpp"
#include "cpdcomm/error.hpp"

namespace cpdcomm {
namespace {

using Bytes = std::vector<std::byte>;

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorCode::invalid_argument, what);
}

bool is_name(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char letter) {
    return std::isalnum(letter) != 0 || letter == '-' || letter == '_';
  });
}

/// A file as a whole; none while it is not there.
std::optional<Bytes> read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return {};
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const auto bytes = std::as_bytes(std::span(text));
  return Bytes(bytes.begin(), bytes.end());
}

std::string missing_ranks(const std::vector<std::optional<Bytes>>& all) {
  constexpr int kMost = 8;
  std::string names;
  int missing = 0;
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    if (all[rank] || ++missing > kMost) continue;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", rank);
  }
  if (missing > kMost) names += fmt::format(" and {} more", missing - kMost);
  return (missing == 1 ? "rank " : "ranks ") + names;
}

}  // namespace

FileBootstrap::FileBootstrap(std::filesystem::path directory, int rank, int size,
                             std::chrono::milliseconds timeout, std::string run)
    : directory_(std::move(directory)),
      rank_(rank),
      size_(size),
      timeout_(timeout),
      run_(std::move(run)) {
  if (size < 1 || rank < 0 || rank >= size) {
    refuse(fmt::format("rank {} of {}: allowed is 0 to size - 1, of at least 1", rank, size));
  }
  if (!is_name(run_)) {
    refuse(fmt::format("the run '{}': allowed are letters, digits, '-' and '_'", run_));
  }
  if (!std::filesystem::is_directory(directory_)) {
    refuse(fmt::format("{} is no directory", directory_.string()));
  }
}

std::filesystem::path FileBootstrap::file(int rank) const {
  return directory_ / fmt::format("{}.{}.{}", run_, round_, rank);
}

/// Under another name first, so that no peer reads half of it.
void FileBootstrap::write(std::span<const std::byte> mine) const {
  const std::filesystem::path path = file(rank_);
  if (std::filesystem::exists(path)) {
    refuse(
        fmt::format("{} is there already, of an earlier run or another process with rank {}: "
                    "start with an empty directory, or give each run a name of its own",
                    path.string(), rank_));
  }
  const std::filesystem::path unfinished = path.string() + ".unfinished";
  std::ofstream out(unfinished, std::ios::binary);
  out.write(reinterpret_cast<const char*>(mine.data()), static_cast<std::streamsize>(mine.size()));
  out.close();
  std::error_code error;
  if (out) std::filesystem::rename(unfinished, path, error);
  if (!out || error) refuse(fmt::format("{} cannot be written", path.string()));
}

std::vector<Bytes> FileBootstrap::allgather(std::span<const std::byte> mine) {
  write(mine);
  const auto deadline = std::chrono::steady_clock::now() + timeout_;
  std::vector<std::optional<Bytes>> found(static_cast<std::size_t>(size_));
  const auto collect = [&] {
    for (int rank = 0; rank < size_; ++rank) {
      auto& bytes = found[static_cast<std::size_t>(rank)];
      if (!bytes) bytes = read(file(rank));
    }
    return std::all_of(found.begin(), found.end(), [](const auto& bytes) { return bytes; });
  };
  while (!collect()) {
    if (std::chrono::steady_clock::now() > deadline) {
      throw Error(ErrorCode::timeout,
                  fmt::format("{} of {} did not come to {} within {} ms", missing_ranks(found),
                              size_, directory_.string(), timeout_.count()));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ++round_;
  std::vector<Bytes> all;
  for (auto& bytes : found) all.push_back(std::move(*bytes));
  return all;
}

}  // namespace cpdcomm
