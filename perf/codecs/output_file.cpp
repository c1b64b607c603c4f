#include "codecs/output_file.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace cpdcomm::perf {

namespace fs = std::filesystem;

std::string why_not_writable(const std::string& file) {
  const fs::path path(file);
  if (!path.has_filename() || fs::is_directory(path)) {
    return fmt::format("'{}' is a folder; the name of a file is needed", file);
  }
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  if (!fs::is_directory(folder)) return fmt::format("there is no folder '{}'", folder.string());
  if (access(folder.c_str(), W_OK) != 0) {
    return fmt::format("no file can be created in '{}': {}", folder.string(), std::strerror(errno));
  }
  return {};
}

OutputFile::OutputFile(const std::string& file) : name_(file) {
  std::FILE* created = nullptr;
  for (int i = 1; (created = std::fopen(name_.c_str(), "wx")) == nullptr; ++i) {
    if (errno != EEXIST) {
      throw std::runtime_error(fmt::format("cannot create {}: {}", name_, std::strerror(errno)));
    }
    name_ = fmt::format("{}.{}", file, i);
  }
  std::fclose(created);
}

void OutputFile::write(const std::string& text) const {
  std::ofstream out(name_);
  out << text;
  out.close();
  if (!out) throw std::runtime_error(fmt::format("cannot write all of {}", name_));
}

}  // namespace cpdcomm::perf
