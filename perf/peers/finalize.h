/* The end of programs that MPICH runs: each calls MPI_Finalize, but does not wait for it for ever.
 */
#ifndef CPDCOMM_PERF_PEERS_FINALIZE_H
#define CPDCOMM_PERF_PEERS_FINALIZE_H

#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { FINALIZE_SECONDS = 5 };

/* The exit code of ranks whose MPI_Finalize does not come back. */
static volatile sig_atomic_t left_with;

static void leave(int signal) {
  (void)signal;
  _exit(left_with);
}

/* MPI_Finalize of MPICH 4.0 on UCX over TCP can hang: some ranks leave while others still wait for
 * their connections to close. To leave out the call is worse: its launcher then sees an error where
 * none was. */
static void finalize_and_exit(int code) {
  MPI_Barrier(MPI_COMM_WORLD);
  fflush(stdout);
  left_with = code;
  signal(SIGALRM, leave);
  alarm(FINALIZE_SECONDS);
  MPI_Finalize();
  _exit(code);
}

#endif
