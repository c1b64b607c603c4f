"""Checks that run on every rank of one launch, each in a process group of its own.

A file of checks ends with `harness.main()`. What the ranks tell each other besides goes over a
store, so nothing of what is checked is needed to check it.
"""

import hashlib
import json
import os
import pickle
import sys
import time
import traceback

import gradients
import torch
import torch.distributed as dist

import cpdcomm
from cpdcomm._backend import backend_of

_SECONDS = 30.0  # no operation of a check takes so long
_checks = []


def check(function):
    """Registers a check: a function of a Ranks, which fails by raising on any rank."""
    _checks.append(function)
    return function


def checks_of(module):
    """The names of a module's checks."""
    return [f.__name__ for f in _checks if f.__module__ == module.__name__]


class Ranks:
    """What a check works with."""

    def __init__(self, store, group, parts):
        self.store = store
        self._exchanges = 0
        self.group = group
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        self.gradients = parts

    def everybody(self, value):
        """The values of all ranks, in their order; waits for all."""
        self._exchanges += 1
        self.store.set(f"{self._exchanges}/{self.rank}", pickle.dumps(value))
        return [self._value_of(rank) for rank in range(self.size)]

    def _value_of(self, rank):
        key = f"{self._exchanges}/{rank}"
        while not self.store.check([key]):
            if self.store.check([f"failed/{rank}"]) and not self.store.check([key]):
                raise RuntimeError(f"rank {rank} has failed")
            time.sleep(0.002)
        return pickle.loads(self.store.get(key))

    def outcomes(self, function):
        """Runs a check; per rank the traceback, or None where it passed."""
        try:
            function(self)
            mine = None
        except Exception:
            mine = traceback.format_exc()
            self.store.set(f"failed/{self.rank}", "")
            # Its peers need not wait in an operation that it will not come to.
            backend_of(self.group).refuse("a check has failed here")
        self.store.set(f"outcome/{self.rank}", pickle.dumps(mine))
        return [pickle.loads(self.store.get(f"outcome/{r}")) for r in range(self.size)]

    def agree(self, arrays):
        """Asserts that all ranks hold the same bits."""
        mine = [hashlib.sha256(array.tobytes()).hexdigest() for array in arrays]
        for rank, theirs in enumerate(self.everybody(mine)):
            wrong = [i for i, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a != b]
            assert not wrong, f"rank {rank} has other bits than rank {self.rank} in {wrong}"

    def all_reduce(self, tensors, *args, **kwargs):
        """cpdcomm.all_reduce in the check's group."""
        return cpdcomm.all_reduce(tensors, *args, group=self.group, **kwargs)

    def still_sums(self):
        """Asserts that the check's group works."""
        x = torch.arange(5.0) + self.rank
        self.all_reduce([x])
        want = self.size * torch.arange(5.0) + sum(range(self.size))
        assert torch.equal(x, want), f"{x} is not {want}"


def new_group(**options):
    """A group of all ranks with other options."""
    options.setdefault("timeout", _SECONDS)
    return dist.new_group(backend="cpd", pg_options=cpdcomm.Options(**options))


def main():
    """Runs the file's checks, or those named; rank 0 writes what they found to the first file."""
    found, inputs, *named = sys.argv[1:]
    torch.set_num_threads(1)
    dist.init_process_group("cpd", pg_options=cpdcomm.Options(timeout=_SECONDS))
    store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
    parts = gradients.load(inputs)
    for function in [f for f in _checks if f.__module__ == "__main__"]:
        name = function.__name__
        if (named and name not in named) or name in os.environ.get("SKIP", "").split(","):
            continue
        ranks = Ranks(dist.PrefixStore(name, store), new_group(), parts)
        start = time.monotonic()
        failures = ranks.outcomes(function)
        if ranks.rank == 0:
            with open(found, "a") as file:
                failures = {rank: text for rank, text in enumerate(failures) if text}
                file.write(json.dumps({"check": name, "failures": failures}) + "\n")
            print(f"{name}: {time.monotonic() - start:.1f} s", flush=True)
    dist.destroy_process_group()
