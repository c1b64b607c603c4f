#pragma once

namespace cpdcomm {

// What the environment says beside environment_options(); see there.

/// CPDCOMM_SHARED_MEMORY
bool environment_allows_shared_memory();
/// CPDCOMM_DEBUG=info: what was decided is printed to stderr, one line each.
bool environment_asks_for_info();

}  // namespace cpdcomm
