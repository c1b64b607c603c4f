#include "cpdcomm/communicator.hpp"

namespace cpdcomm {

std::size_t size_of(DataType type) {
  switch (type) {
    case DataType::int8:
    case DataType::uint8:
      return 1;
    case DataType::bf16:
    case DataType::fp16:
    case DataType::int16:
      return 2;
    case DataType::fp32:
    case DataType::int32:
      return 4;
    case DataType::fp64:
    case DataType::int64:
      return 8;
  }
  return 0;
}

std::string to_string(DataType type) {
  switch (type) {
    case DataType::fp32:
      return "fp32";
    case DataType::bf16:
      return "bf16";
    case DataType::fp16:
      return "fp16";
    case DataType::fp64:
      return "fp64";
    case DataType::int8:
      return "int8";
    case DataType::uint8:
      return "uint8";
    case DataType::int16:
      return "int16";
    case DataType::int32:
      return "int32";
    case DataType::int64:
      return "int64";
  }
  return "unknown";
}

}  // namespace cpdcomm
