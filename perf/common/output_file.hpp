#pragma once

#include <string>

namespace cpdcomm::perf {

/// Why no file can be created under this name, to say so before anything is measured; empty where
/// nothing speaks against it.
std::string why_not_writable(const std::string& file);

/// A new file under the first free of FILE, FILE.1, FILE.2, ...: nothing is ever overwritten.
class OutputFile {
 public:
  /// Takes the name by creating the file.
  /// @throws Error invalid_argument where that fails
  explicit OutputFile(const std::string& file);

  const std::string& name() const { return name_; }

  /// @throws Error invalid_argument where not all of it could be written
  void write(const std::string& text) const;

 private:
  std::string name_;
};

}  // namespace cpdcomm::perf
