#include "common/output_file.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "cpdcomm/error.hpp"

namespace cpdcomm::perf {

namespace fs = std::filesystem;

std::string why_not_writable(const std::string& file) {
  const fs::path path(file);
  if (!path.has_filename() || fs::is_directory(path)) {
    return fmt::format("'{}' is a folder; the name of a file is needed", file);
  }
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  if (!fs::is_directory(folder)) {
    return fmt::format("'{}' cannot be created: there is no folder '{}'", file, folder.string());
  }
  if (access(folder.c_str(), W_OK) != 0) {
    return fmt::format("'{}' cannot be created in its folder: {}", file, std::strerror(errno));
  }
  return {};
}

OutputFile::OutputFile(const std::string& file) : name_(file) {
  if (const std::string reason = why_not_writable(file); !reason.empty()) {
    throw Error(ErrorCode::invalid_argument, reason);
  }
  std::FILE* created = nullptr;
  for (int i = 1; (created = std::fopen(name_.c_str(), "wx")) == nullptr; ++i) {
    if (errno != EEXIST) {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("cannot create {}: {}", name_, std::strerror(errno)));
    }
    name_ = fmt::format("{}.{}", file, i);
  }
  std::fclose(created);
}

void OutputFile::write(const std::string& text) const {
  // A program that is killed in the middle leaves what was written before.
  const std::string part = name_ + ".part";
  std::ofstream out(part);
  out << text;
  out.close();
  if (!out || std::rename(part.c_str(), name_.c_str()) != 0) {
    throw Error(ErrorCode::invalid_argument, fmt::format("cannot write all of {}", name_));
  }
}

}  // namespace cpdcomm::perf
