#pragma once

#include "cpdcomm/bootstrap.hpp"
#include "cpdcomm/communicator.hpp"
#include "cpdcomm/export.hpp"

namespace cpdcomm {

/// What holds for UCX alone. Its own variables (UCX_TLS, UCX_NET_DEVICES, ...) hold as well.
struct UcxOptions {
  /// A rank that dies is reported at once. UCX has that for networks such as TCP, and its own
  /// shared memory is left out, unless UCX_TLS says what to take. With false it takes that inside a
  /// host, some MiB of /dev/shm for each rank, and only the deadline tells of a dead rank. The same
  /// on all ranks.
  bool report_failures = true;
};

/// A communicator over UCX; collective over the bootstrap's ranks, which is used during this call
/// only. Every rank connects to every other one with which it shares no memory (a socket for each
/// over TCP), so that a rank that cannot be reached is known before the first call. Where all share
/// memory UCX is not started.
///
/// A dead process is reported as Error peer_failed that names its rank: over UCX at once, over
/// shared memory within two seconds. A host or a link that falls silent is known by the deadline
/// only, and so is a rank that has ended its communicator while its peers go on.
/// @param options  whose timeout is also that of connecting
/// @throws Error unsupported when UCX is needed and cannot be started, peer_failed or timeout when
///         a rank cannot be reached; what the bootstrap throws
CPDCOMM_API Communicator make_ucx_communicator(Bootstrap& bootstrap,
                                               const CommunicatorOptions& options = {},
                                               const UcxOptions& ucx = {});

}  // namespace cpdcomm
