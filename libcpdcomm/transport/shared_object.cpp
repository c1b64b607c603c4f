#include "transport/shared_object.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

#include "cpdcomm/error.hpp"

namespace cpdcomm::transport {
namespace {

[[noreturn]] void fail(const char* what, std::size_t bytes, int code) {
  throw Error(ErrorCode::unsupported,
              fmt::format("shared memory of {} bytes: {}: {}", bytes, what, std::strerror(code)));
}

constexpr const char* kLabel = "cpdcomm";  // of memory without a name, in its links in /proc
constexpr std::string_view kProc = "/proc/";

std::string random_name() {
  std::random_device random;
  return fmt::format("/cpdcomm-{}-{:08x}{:08x}{:08x}", getpid(), random(), random(), random());
}

int open_anonymous() {
#ifdef MFD_NOEXEC_SEAL
  // Some kernels give no other memory; older ones do not know the word.
  const int sealed = memfd_create(kLabel, MFD_CLOEXEC | MFD_NOEXEC_SEAL);
  if (sealed >= 0 || errno != EINVAL) return sealed;
#endif
  return memfd_create(kLabel, MFD_CLOEXEC);
}

/// What lies under a process's number may be anything of another process: only memory is opened.
int open_in_proc(const std::string& name) {
  std::array<char, 64> link{};
  const ssize_t length = readlink(name.c_str(), link.data(), link.size());
  const std::string_view target(link.data(),
                                static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
  if (!target.starts_with(fmt::format("/memfd:{}", kLabel))) return -1;
  return ::open(name.c_str(), O_RDWR | O_CLOEXEC);
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
  Descriptor file(open_anonymous());
  if (file.number() < 0) fail("memfd_create", first.size(), errno);
  std::string name = fmt::format("{}{}/fd/{}", kProc, getpid(), file.number());
  SharedObject object(std::move(name), std::move(file), false);
  object.begin_with(first);
  return object;
}

SharedObject SharedObject::create_named(std::span<const std::byte> first) {
  std::string name = random_name();
  Descriptor file(shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (file.number() < 0) fail("shm_open", first.size(), errno);
  SharedObject object(std::move(name), std::move(file), true);
  object.begin_with(first);
  return object;
}

std::optional<SharedObject> SharedObject::open(const std::string& name) {
  Descriptor file(name.starts_with(kProc) ? open_in_proc(name)
                                          : shm_open(name.c_str(), O_RDWR | O_CLOEXEC, 0));
  if (file.number() < 0) return std::nullopt;
  return SharedObject(name, std::move(file), false);
}

void SharedObject::begin_with(std::span<const std::byte> first) {
  grow(first.size());
  if (pwrite(file_.number(), first.data(), first.size(), 0) != static_cast<ssize_t>(first.size())) {
    fail("pwrite", first.size(), errno);
  }
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
