"""Ranks that live through many checks of mpi/: a launch for each launcher, number and environment.

A launch in which a check has failed, or hung, or which has died, is ended, and the next check gets
a new one: a check fails alone, with its own output.
"""

import json
import os
import selectors
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import gradients
import pytest
from processes import end

START_SECONDS = 600.0  # each rank imports torch
END_SECONDS = 120.0
DUMP_SECONDS = 1.0  # for ranks that hang to say where
LAST_WORDS_SECONDS = 5.0  # for a launcher to say what became of a rank
LIVING = 2  # launches at the same time; the cases are sorted, so more would only take memory

_living = {}  # by kind; the one that was asked last stands last
_launches = {}  # by the same: all that were started


class _Peer:
    """The test's end of a rank's connection: a JSON object a line."""

    def __init__(self, connection):
        self.connection = connection
        self._heard = b""

    def tell(self, **words):
        self.connection.sendall(json.dumps(words).encode() + b"\n")

    def hear(self):
        """What has come, None if it is not whole yet; the rank is there, or EOFError."""
        piece = self.connection.recv(1 << 20)
        if not piece:
            raise EOFError
        self._heard += piece
        if not self._heard.endswith(b"\n"):
            return None
        words, self._heard = json.loads(self._heard), b""
        return words


class _Silent(Exception):
    """Ranks that did not answer: why."""


class Launch:
    """Ranks that run checks.

    Attributes:
        code: how their launcher ended, None while it runs.
        passed: (module, check) of the checks that have passed.
        failed: whether one has not: how the launch ends then is nobody's business.
    """

    def __init__(self, command, ranks, environment):
        self.code, self.passed, self.failed = None, set(), False
        self._folder = tempfile.TemporaryDirectory(prefix="cpdcomm-ranks-")
        path = Path(self._folder.name)
        gradients.save(path / "gradients.npz")
        self._output = open(path / "output", "w+b")  # noqa: SIM115  as long as the ranks live
        self._asked_at = 0  # where the output of the check at hand begins
        self._pids, self._peers = [], []
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path / "socket"))
            listener.listen(ranks)
            self._process = subprocess.Popen(
                [*map(str, command), str(path / "socket"), str(path / "gradients.npz")],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
            )
            try:
                self._welcome(listener, ranks)
            except _Silent as silent:
                self._fail(f"{ranks} ranks did not start: {silent}")

    def _welcome(self, listener, ranks):
        deadline = time.monotonic() + START_SECONDS
        listener.settimeout(0.2)
        while len(self._peers) < ranks:
            if self._process.poll() is not None:
                raise _Silent(f"the launcher ended with {self._process.poll()}")
            if time.monotonic() > deadline:
                raise _Silent(f"{len(self._peers)} were there after {START_SECONDS:g} s")
            try:
                self._peers.append(_Peer(listener.accept()[0]))
            except TimeoutError:
                continue
        heard = self._hear(START_SECONDS)
        order = sorted(range(ranks), key=lambda i: heard[i]["rank"])
        self._peers = [self._peers[i] for i in order]
        self._pids = [heard[i]["pid"] for i in order]

    def failures(self, module, check, timeout):
        """Runs a check: what the ranks found wrong, or nothing; fails where they do not answer."""
        self._asked_at = self._said_until()
        try:
            for peer in self._peers:
                peer.tell(module=module, check=check)
            answers = self._hear(timeout)
        except (_Silent, OSError) as silent:
            self._fail(f"{module}.{check} on {len(self._peers)} ranks: {silent}")
        told = enumerate(words["failure"] for words in answers)
        failures = "\n".join(f"--- rank {rank}\n{text}" for rank, text in told if text)
        if not failures:
            self.passed.add((module, check))
            return ""
        self.failed = True
        self.end()
        return f"{failures}\n--- and the launch said\n{self.said()}"

    def _hear(self, timeout):
        """A word of every rank, in their order."""
        deadline = time.monotonic() + timeout
        heard = [None] * len(self._peers)
        with selectors.DefaultSelector() as selector:
            for i, peer in enumerate(self._peers):
                selector.register(peer.connection, selectors.EVENT_READ, i)
            while None in heard:
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise _Silent(f"no answer within {timeout:g} s of {self._silent(heard)}")
                for key, _ in ready:
                    heard[key.data] = self._word_of(key.data)
                    if heard[key.data] is not None:
                        selector.unregister(key.fileobj)
        return heard

    def _word_of(self, i):
        try:
            return self._peers[i].hear()
        except (EOFError, OSError):
            self._wait(LAST_WORDS_SECONDS)
            raise _Silent(f"rank {i} has ended") from None

    def _silent(self, heard):
        """Who has not answered; they are asked to say where they are."""
        silent = [i for i, words in enumerate(heard) if words is None]
        for i in silent if self._pids else []:
            os.kill(self._pids[i], signal.SIGUSR1)
        time.sleep(DUMP_SECONDS)
        return f"ranks {silent}"

    def _fail(self, why):
        self.failed = True
        self._end_process()
        pytest.fail(f"{why}\n--- the launch said\n{self.said()}", pytrace=False)

    def _said_until(self):
        return self._output.seek(0, os.SEEK_END)

    def said(self):
        """The output since the check at hand was asked for."""
        self._output.seek(self._asked_at)
        return self._output.read().decode(errors="replace")

    @property
    def lives(self):
        return self.code is None

    def end(self):
        """Tells the ranks that there are no more checks, and waits for them."""
        for peer in self._peers:
            peer.connection.close()
        self._wait(END_SECONDS)
        self._end_process()

    def _wait(self, seconds):
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass  # it is ended then

    def _end_process(self):
        """However it may be."""
        for peer in self._peers:
            peer.connection.close()
        end(self._process)
        self.code = self._process.wait()
        self._folder.cleanup()


def launch_of(kind, start):
    """The ranks of a kind, which live on; start() gives (command, ranks, environment) for new ones.

    `kind` is anything that two launches have in common if one can serve for the other.
    """
    launch = _living.pop(kind, None)
    if launch is None or not launch.lives:
        while len(_living) >= LIVING:
            _living.pop(next(iter(_living))).end()
        launch = Launch(*start())
        _launches.setdefault(kind, []).append(launch)
    _living[kind] = launch
    return launch


def launches_that_passed(module, kind):
    """The launches of a kind in which a check of a module has passed, and none has failed."""
    launches = _launches.get(kind, [])
    return [one for one in launches if not one.failed and module in {m for m, _ in one.passed}]


def end_all():
    """Ends the ranks that still live."""
    while _living:
        _living.popitem()[1].end()
