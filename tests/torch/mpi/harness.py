"""Checks that run on every rank of a launch, each in a process group of its own.

Ranks live through many checks: `serve` runs those that it is told to, see tests/torch/served.py.
A file of checks that ends with `harness.main()` also runs by itself, under any launcher. What the
ranks tell each other besides goes over a store, so nothing of what is checked is needed to check
it.
"""

import faulthandler
import gc
import hashlib
import importlib
import json
import os
import pickle
import signal
import socket
import sys
import time
import traceback

import gradients
import numpy as np
import torch
import torch.distributed as dist

import cpdcomm
from cpdcomm._backend import backend_of

SECONDS = 100.0  # no operation of a check takes so long, however busy the machine is
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

    def failure(self, function):
        """Runs a check: its traceback, or None where it passed; waits for all."""
        failure = None
        try:
            function(self)
        except Exception:
            failure = traceback.format_exc()
            self.store.set(f"failed/{self.rank}", "")
            # Its peers need not wait in an operation that it will not come to.
            backend_of(self.group).refuse("a check has failed here")
        self.store.set(f"done/{self.rank}", "")
        self.store.wait([f"done/{rank}" for rank in range(self.size)])
        return failure

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
    options.setdefault("timeout", SECONDS)
    return dist.new_group(backend="cpd", pg_options=cpdcomm.Options(**options))


# --- ranks that run checks ------------------------------------------------------------------------


class _Runner:
    """A rank with its default group; runs one check after the other as if each were the first."""

    def __init__(self, parts):
        torch.set_num_threads(1)
        dist.init_process_group("cpd", pg_options=cpdcomm.Options(timeout=SECONDS))
        self._store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
        self._parts = parts
        self._number = 0
        gc.freeze()  # collecting after each check looks at what is the check's alone

    def failure(self, function):
        """The traceback of a check, or None where it passed."""
        _start_afresh()
        self._number += 1
        store = dist.PrefixStore(f"check {self._number}", self._store)
        try:
            return Ranks(store, new_group(), self._parts).failure(function)
        finally:
            _destroy_groups()


def _start_afresh():
    """Takes back what the check before has set for the whole process."""
    torch.manual_seed(0)
    np.random.seed(0)
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()


def _destroy_groups():
    """All but the default group: each takes descriptors and memory while it lives."""
    world = dist.distributed_c10d._world
    for group in list(world.pg_map):
        if group is not dist.group.WORLD and group in world.pg_map:
            dist.destroy_process_group(group)
    gc.collect()


def _find(module, name):
    importlib.import_module(module)
    return next(f for f in _checks if (f.__module__, f.__name__) == (module, name))


def serve(path, inputs):
    """Runs the checks that the tests' end of a socket names, until it is closed."""
    faulthandler.register(signal.SIGUSR1)
    runner = _Runner(gradients.load(inputs))
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        with connection.makefile("rw") as tests:

            def tell(**words):
                tests.write(json.dumps(words) + "\n")
                tests.flush()

            tell(rank=dist.get_rank(), pid=os.getpid())
            for line in tests:
                tell(failure=_asked(runner, **json.loads(line)))
    dist.destroy_process_group()


def _asked(runner, module, check):
    try:
        function = _find(module, check)
    except Exception:
        return traceback.format_exc()
    try:
        return runner.failure(function)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def main():
    """Runs the file's checks, or those named, and prints what they found."""
    named = sys.argv[1:]
    runner = _Runner(gradients.of_digits())
    failed = 0
    for function in [f for f in _checks if f.__module__ == "__main__"]:
        if named and function.__name__ not in named:
            continue
        start = time.monotonic()
        failure = runner.failure(function)
        failed += failure is not None
        if failure or dist.get_rank() == 0:
            seconds = time.monotonic() - start
            print(f"{function.__name__}: {seconds:.1f} s {failure or ''}", flush=True)
    dist.destroy_process_group()
    sys.exit(min(failed, 1))
