#pragma once

#include <mpi.h>

#include "cpdcomm/communicator.hpp"
#include "cpdcomm/export.hpp"

namespace cpdcomm {

/// A communicator over the ranks of an MPI communicator, which is duplicated; collective over it.
///
/// MPI must have been initialised with MPI_THREAD_SERIALIZED or MPI_THREAD_MULTIPLE, or the caller
/// must use MPI and the communicator from one thread only, and start no call (iallreduce). With
/// MPI_THREAD_SERIALIZED, MPI's own all-reduce is never taken. The communicator must end before
/// MPI_Finalize. MPI knows a dead peer by the deadline only, and after a timeout MPI_Finalize must
/// not be called: it would wait for that peer.
/// @throws Error invalid_argument when MPI is not initialised or `comm` is MPI_COMM_NULL or an
///         inter-communicator, peer_failed when MPI reports an error
CPDCOMM_API Communicator make_mpi_communicator(MPI_Comm comm,
                                               const CommunicatorOptions& options = {});

}  // namespace cpdcomm
