#include "transport/shared_object.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "cpdcomm/error.hpp"

namespace cpdcomm::transport {
namespace {

[[noreturn]] void fail(const char* what, std::size_t bytes, int code) {
  throw Error(ErrorCode::unsupported,
              fmt::format("shared memory of {} bytes: {}: {}", bytes, what, std::strerror(code)));
}

std::string random_name() {
  std::random_device random;
  return fmt::format("/cpdcomm-{:08x}{:08x}{:08x}", random(), random(), random());
}

}  // namespace

Descriptor::Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(number_, other.number_);
  return *this;
}

Descriptor::~Descriptor() {
  if (number_ >= 0) close(number_);
}

Mapping::Mapping(Mapping&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

Mapping::~Mapping() {
  if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
}

SharedObject SharedObject::create(std::span<const std::byte> first) {
  std::string name = random_name();
  Descriptor file(shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (file.number() < 0) fail("shm_open", first.size(), errno);
  SharedObject object(std::move(name), std::move(file), true);
  object.grow(first.size());
  if (pwrite(object.file_.number(), first.data(), first.size(), 0) !=
      static_cast<ssize_t>(first.size())) {
    fail("pwrite", first.size(), errno);
  }
  return object;
}

std::optional<SharedObject> SharedObject::open(const std::string& name) {
  Descriptor file(shm_open(name.c_str(), O_RDWR | O_CLOEXEC, 0));
  if (file.number() < 0) return std::nullopt;
  return SharedObject(name, std::move(file), false);
}

SharedObject& SharedObject::operator=(SharedObject&& other) noexcept {
  std::swap(name_, other.name_);
  std::swap(file_, other.file_);
  std::swap(named_, other.named_);
  return *this;
}

bool SharedObject::begins_with(std::span<const std::byte> bytes) const {
  std::vector<std::byte> found(bytes.size());
  return pread(file_.number(), found.data(), found.size(), 0) ==
             static_cast<ssize_t>(found.size()) &&
         std::ranges::equal(found, bytes);
}

void SharedObject::grow(std::size_t bytes) {
  int code = 0;
  do {
    code = posix_fallocate(file_.number(), 0, static_cast<off_t>(bytes));
  } while (code == EINTR);
  if (code != 0) fail("posix_fallocate", bytes, code);
}

Mapping SharedObject::map(std::size_t bytes) const {
  void* const data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_.number(), 0);
  if (data == MAP_FAILED) fail("mmap", bytes, errno);
  return {static_cast<std::byte*>(data), bytes};
}

void SharedObject::unlink() {
  if (file_.number() >= 0 && std::exchange(named_, false)) shm_unlink(name_.c_str());
}

}  // namespace cpdcomm::transport
