#include "allreduce/library.hpp"

#include "cpdcomm/error.hpp"
#include "cpdcomm/mpi.hpp"
#ifdef CPDCOMM_PERF_HAS_UCX
#include "cpdcomm/ucx.hpp"
#include "transport/mpi_bootstrap.hpp"
#endif

namespace cpdcomm::perf {
namespace {

#ifdef CPDCOMM_PERF_HAS_UCX
/// Its ranks find each other through MPI.
Communicator over_ucx(const CommunicatorOptions& options) {
  transport::MpiBootstrap bootstrap(MPI_COMM_WORLD);
  return make_ucx_communicator(bootstrap, options);
}
#else
[[noreturn]] Communicator over_ucx(const CommunicatorOptions& /*options*/) {
  throw Error(ErrorCode::unsupported,
              "--transport ucx: this program was built without UCX; allowed is mpi");
}
#endif

}  // namespace

Communicator make_library(const Options& options) {
  if (options.transport == Options::Transport::ucx) return over_ucx(options.communicator);
  return make_mpi_communicator(MPI_COMM_WORLD, options.communicator);
}

}  // namespace cpdcomm::perf
