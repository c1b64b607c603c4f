#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

namespace cpdcomm::transport {

/// A file descriptor that is closed in the end.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();

  int number() const { return number_; }

 private:
  int number_;
};

/// Memory that other processes may see, too; it stays until the last of them lets go of it.
class Mapping {
 public:
  Mapping() = default;
  Mapping(std::byte* data, std::size_t size) : bytes_(data, size) {}
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  std::byte* data() const { return bytes_.data(); }
  std::size_t size() const { return bytes_.size(); }

 private:
  std::span<std::byte> bytes_;
};

/// Memory that other processes can open while the object lives.
class SharedObject {
 public:
  /// A new one that holds `first` and has no name in any file system: nothing is left of it however
  /// its processes end, and the size of /dev/shm does not limit it. It can be opened by processes
  /// of this user that see this one's entries in /proc.
  /// @throws Error unsupported
  static SharedObject create(std::span<const std::byte> first);
  /// A new one in /dev/shm, for this user only, under a name that starts with "/cpdcomm-", this
  /// process's number and "-". Who is killed before it takes the name away leaves it behind.
  /// @throws Error unsupported
  static SharedObject create_named(std::span<const std::byte> first);
  /// @param name  of an object of either kind
  /// @return none where there is no such object, or not for us
  static std::optional<SharedObject> open(const std::string& name);

  SharedObject(SharedObject&& other) noexcept = default;
  SharedObject& operator=(SharedObject&& other) noexcept;
  /// The creator takes a name away.
  ~SharedObject() { unlink(); }

  const std::string& name() const { return name_; }
  /// Whether it begins with these bytes.
  bool begins_with(std::span<const std::byte> bytes) const;
  /// Takes all memory at once: later it would be missing where nobody can be told.
  /// @throws Error unsupported
  void grow(std::size_t bytes);
  /// Memory that the object has not yet grown to must not be touched.
  /// @throws Error unsupported
  Mapping map(std::size_t bytes) const;
  /// Takes the name away: who has opened it keeps it, and nothing is left when they end.
  void unlink();

 private:
  SharedObject(std::string name, Descriptor file, bool named)
      : name_(std::move(name)), file_(std::move(file)), named_(named) {}

  void begin_with(std::span<const std::byte> first);

  std::string name_;
  Descriptor file_;
  bool named_;  // the name is ours to take away
};

}  // namespace cpdcomm::transport
