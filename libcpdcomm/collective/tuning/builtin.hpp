#pragma once

namespace cpdcomm::collective::tuning {

/// The text of builtin.json.
extern const char* const kBuiltinTable;

}  // namespace cpdcomm::collective::tuning
