#include "allreduce/npy.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <string_view>

#include "codec/codec.hpp"
#include "cpdcomm/error.hpp"

// The format: numpy.lib.format in NumPy's reference. Six magic bytes, two of the version, the
// length of the header in two bytes (version 1) or four, the header, which is a dictionary as
// Python writes it, then the values.
namespace cpdcomm::perf {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kLongestHeader = 1 << 16;
constexpr std::size_t kShownHeader = 200;
constexpr std::size_t kPieceBytes = 1 << 16;

struct Header {
  std::string type;  // such as "<f4"
  bool fortran_order = false;
  std::vector<std::size_t> shape;
};

/// Something is wrong with the text of the header; what exactly is for the caller to tell.
struct Malformed {};

/// Reads the header's dictionary.
class HeaderReader {
 public:
  explicit HeaderReader(std::string_view text) : rest_(text) {}

  Header read() {
    Header header;
    bool has_type = false;
    bool has_order = false;
    bool has_shape = false;
    expect('{');
    while (!take('}')) {
      const std::string key = string();
      expect(':');
      if (key == "descr" && !has_type) {
        header.type = string();
        has_type = true;
      } else if (key == "fortran_order" && !has_order) {
        header.fortran_order = boolean();
        has_order = true;
      } else if (key == "shape" && !has_shape) {
        header.shape = shape();
        has_shape = true;
      } else {
        throw Malformed();
      }
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    if (!has_type || !has_order || !has_shape) throw Malformed();
    skip_blanks();
    if (!rest_.empty()) throw Malformed();
    return header;
  }

 private:
  void skip_blanks() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(" \n"), rest_.size()));
  }
  bool take(char c) {
    skip_blanks();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!take(c)) throw Malformed();
  }

  std::string string() {
    const char quote = take('"') ? '"' : '\'';
    if (quote == '\'') expect('\'');
    const std::size_t end = rest_.find(quote);
    if (end == std::string_view::npos) throw Malformed();
    const std::string text(rest_.substr(0, end));
    rest_.remove_prefix(end + 1);
    return text;
  }

  bool boolean() {
    skip_blanks();
    for (const std::string_view word : {"True", "False"}) {
      if (!rest_.starts_with(word)) continue;
      rest_.remove_prefix(word.size());
      return word == "True";
    }
    throw Malformed();
  }

  std::vector<std::size_t> shape() {
    std::vector<std::size_t> sizes;
    expect('(');
    while (!take(')')) {
      sizes.push_back(number());
      if (!take(',')) {
        expect(')');
        break;
      }
    }
    return sizes;
  }

  std::size_t number() {
    skip_blanks();
    std::size_t value = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error != std::errc{}) throw Malformed();
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return value;
  }

  std::string_view rest_;
};

/// One file on its way into memory.
class NpyFile {
 public:
  explicit NpyFile(const std::string& path) : path_(path) {
    std::error_code error;
    left_ = std::filesystem::file_size(path, error);
    if (error) fail(error.message());
    file_.open(path, std::ios::binary);
    if (!file_) fail("it cannot be opened");
  }

  NpyArray read() {
    const Header header = read_header();
    const std::size_t width = width_of(header);
    NpyArray array = shaped(header, width);
    array.values.resize(array.rows * array.columns);
    const std::size_t piece = kPieceBytes / width;
    for (std::size_t first = 0; first < array.values.size(); first += piece) {
      const std::size_t count = std::min(piece, array.values.size() - first);
      read_values(std::span(array.values).subspan(first, count), width);
    }
    return array;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::invalid_argument, fmt::format("{}: {}", path_, what));
  }

  void take(void* to, std::size_t bytes) {
    if (bytes > left_) fail("it ends within the header of a .npy file");
    file_.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes));
    if (!file_) fail("it cannot be read");
    left_ -= bytes;
  }

  Header read_header() {
    std::array<char, kMagic.size()> magic;
    if (left_ < magic.size()) fail("not a .npy file, which numpy.save writes");
    take(magic.data(), magic.size());
    if (std::string_view(magic.data(), magic.size()) != kMagic) {
      fail("not a .npy file, which numpy.save writes");
    }
    std::array<unsigned char, 2> version;
    take(version.data(), version.size());
    if (version[0] < 1 || version[0] > 3 || version[1] != 0) {
      fail(fmt::format("version {}.{} of the .npy format; allowed are 1.0, 2.0 and 3.0", version[0],
                       version[1]));
    }
    std::uint32_t length = 0;  // little-endian
    take(&length, version[0] == 1 ? 2 : 4);
    if (length > kLongestHeader) {
      fail(fmt::format("a header of {} bytes; allowed are {}", length, kLongestHeader));
    }
    std::string text(length, '\0');
    take(text.data(), text.size());
    try {
      return HeaderReader(text).read();
    } catch (const Malformed&) {
      fail(
          fmt::format("the header is {:?}; allowed is a plain array's, such as "
                      "{{'descr': '<f4', 'fortran_order': False, 'shape': (8, 1000)}}",
                      text.substr(0, kShownHeader)));
    }
  }

  std::size_t width_of(const Header& header) const {
    for (const auto& [name, width] : {std::pair("<f2", 2), {"<f4", 4}, {"<f8", 8}}) {
      if (header.type == name) return static_cast<std::size_t>(width);
    }
    fail(fmt::format(
        "its values are '{}'; allowed are '<f2', '<f4' and '<f8' (float16, float32 and float64, "
        "little-endian)",
        header.type));
  }

  /// The array without its values, whose size the file has been found to have.
  NpyArray shaped(const Header& header, std::size_t width) const {
    const auto& shape = header.shape;
    const auto shown = fmt::format("({})", fmt::join(shape, ", "));
    if (header.fortran_order) {
      fail("it is in Fortran order; allowed is C order (numpy.ascontiguousarray)");
    }
    if (shape.size() != 1 && shape.size() != 2) {
      fail(fmt::format("its shape is {}; allowed are one or two dimensions", shown));
    }
    const std::size_t rows = shape.size() == 2 ? shape[0] : 1;
    const std::size_t columns = shape.back();
    if (rows == 0 || columns == 0) {
      fail(fmt::format("its shape is {}; at least one value is needed", shown));
    }
    const bool too_many = columns > left_ / width || rows > left_ / width / columns;
    if (too_many || rows * columns * width != left_) {
      fail(fmt::format("{} bytes of values follow the header; shape {} of '{}' takes {}", left_,
                       shown, header.type,
                       too_many ? "more" : std::to_string(rows * columns * width)));
    }
    return {{}, rows, columns};
  }

  void read_values(std::span<float> out, std::size_t width) {
    if (width == sizeof(float)) {
      take(out.data(), out.size_bytes());
      return;
    }
    std::array<std::byte, kPieceBytes> bytes;
    take(bytes.data(), out.size() * width);
    if (width == 2) {
      codec::plain_codec_for(Format::floating(5, 10)).decode(bytes.data(), out.size(), out.data());
      return;
    }
    for (std::size_t i = 0; i < out.size(); ++i) {
      double value;
      std::memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
      out[i] = static_cast<float>(value);
      if (std::isfinite(value) && !std::isfinite(out[i])) {
        fail(fmt::format("{} does not fit float32", value));
      }
    }
  }

  std::string path_;
  std::ifstream file_;
  std::uintmax_t left_ = 0;  // bytes that have not been read
};

}  // namespace

NpyArray read_npy(const std::string& path) { return NpyFile(path).read(); }

}  // namespace cpdcomm::perf
