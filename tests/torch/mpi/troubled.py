"""Checks that are not well, for test_served.py: each says how."""

import os
import signal
import threading

import harness
from harness import check


@check
def is_well(ranks):
    ranks.still_sums()


@check
def leaves_groups(ranks):
    harness.new_group(wire="e4m3")


@check
def fails_on_one_rank(ranks):
    print(f"rank {ranks.rank} was here", flush=True)
    assert ranks.rank != 1, "rank 1 has found a fault"
    ranks.still_sums()


@check
def dies(ranks):
    if ranks.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    ranks.everybody("never")


@check
def hangs(ranks):
    if ranks.rank == 1:
        threading.Event().wait()
    ranks.everybody("never")
