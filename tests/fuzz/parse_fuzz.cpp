// Format::parse takes any text: it gives a format, whose name gives the same one, or an Error.
#include <optional>
#include <string_view>

#include "check.hpp"
#include "cpdcomm/error.hpp"
#include "cpdcomm/format.hpp"

namespace cpdcomm::fuzz {
namespace {

std::optional<Format> parse(std::string_view text) {
  try {
    return Format::parse(text);
  } catch (const Error& error) {
    check(error.code() == ErrorCode::invalid_argument, error.what(), std::string(text));
    return std::nullopt;
  }
}

}  // namespace
}  // namespace cpdcomm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const char* data, std::size_t size) {
  using namespace cpdcomm;
  const auto format = fuzz::parse({data, size});
  if (!format) return 0;
  const std::string name = format->to_string();
  fuzz::check(fuzz::parse(name) == format, "its name gives another format", name);
  fuzz::check(name.size() <= size, "its name is not the shortest", name);
  const FormatInfo limits = info(*format);
  fuzz::check(limits.bits == format->code_bits(), "info has another width", name);
  fuzz::check(limits.smallest <= limits.largest, "smallest exceeds largest", name);
  return 0;
}
