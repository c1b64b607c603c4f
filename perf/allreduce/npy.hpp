#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace cpdcomm::perf {

/// What a file of NumPy's holds, row by row. An array of one dimension is one row.
struct NpyArray {
  std::vector<float> values;
  std::size_t rows;
  std::size_t columns;
};

/// Reads a .npy file (NumPy's format, versions 1.0 to 3.0): float16, float32 or float64,
/// little-endian, in C order, of one or two dimensions, at least one value. float64 is rounded to
/// FP32; Inf and NaN stay what they are.
/// @throws Error invalid_argument that names the file, what is in it and what is allowed
NpyArray read_npy(const std::string& path);

}  // namespace cpdcomm::perf
