"""A Python that has imported torch already: what a test starts with it is there at once.

`warm.python()` is a program that takes what `python` takes (a file, -c, -m, -u) and lives as long
as the process that runs it, forked from one that has imported torch. Its standard streams,
environment, folder, signals and end are that process's. The fork has read no variable of its
environment while it imported torch, and its parent is not who started it: what is about that starts
the real Python.
"""

import array
import atexit
import contextlib
import ctypes
import functools
import gc
import marshal
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import types
from pathlib import Path

FORWARDED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2")
PR_SET_PDEATHSIG = 1
LENGTH = 8  # bytes that say how long a request is

# What stands for the fork where it was started. It must start fast: neither site nor a package.
PROGRAM = """#!{python} -ISE
import array, marshal, os, resource, signal, socket, sys

server = socket.socket(socket.AF_UNIX)
server.connect({path!r})
request = marshal.dumps((sys.argv, dict(os.environ), os.getcwd()))
streams = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
server.sendmsg([len(request).to_bytes({length}, "little")], streams)
server.sendall(request)
for name in {forwarded!r}:
    signal.signal(getattr(signal, name), lambda signum, _: server.send(bytes([signum])))
status = server.recv(4)
code = os.waitstatus_to_exitcode(int.from_bytes(status, "little")) if len(status) == 4 else 255
if code < 0:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
    os.kill(os.getpid(), -code)
os._exit(code)
"""


# --- the test's end -------------------------------------------------------------------------------


@functools.cache
def python():
    """The path of the program; the first call starts what it forks from."""
    folder = tempfile.TemporaryDirectory(prefix="cpdcomm-warm-")
    path, program = os.path.join(folder.name, "socket"), Path(folder.name, "python")
    words = {"python": sys.executable, "path": path}
    program.write_text(PROGRAM.format(**words, length=LENGTH, forwarded=FORWARDED))
    program.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(128)  # who comes before torch is imported waits
        server = subprocess.Popen(
            [sys.executable, __file__, str(listener.fileno()), str(program)],
            env=_environment(),
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    atexit.register(_end, server, folder)
    return str(program)


def _environment():
    """One that suits every test: one thread, and hashes that ranks have in common."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}


def _end(server, folder):
    server.kill()
    server.wait()
    folder.cleanup()


# --- the process that has imported torch ----------------------------------------------------------


class _Server:
    """Forks for whoever connects, and tells him how the fork ended."""

    def __init__(self, listener):
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, self._welcome)

    def serve(self):
        """What a fork shall run: returns in forks alone."""
        while True:
            for key, _ in self._selector.select():
                request = key.data()
                if request is not None:
                    self._selector.close()
                    self._listener.close()
                    return request

    def _welcome(self):
        connection, _ = self._listener.accept()
        request, streams = _request_of(connection)
        if request is None:
            connection.close()
            return None
        pid = os.fork()
        if pid == 0:
            connection.close()
            return request, streams
        for stream in streams:
            os.close(stream)
        self._look_after(pid, connection)
        return None

    def _look_after(self, pid, connection):
        process = os.pidfd_open(pid)

        def ended():
            self._selector.unregister(process)
            os.close(process)
            _, status = os.waitpid(pid, 0)
            if connection.fileno() >= 0:
                leave(status.to_bytes(4, "little"))

        def heard():
            signals = _received(connection)
            for signum in signals or [signal.SIGKILL]:  # nothing: who stands for it was killed
                os.kill(pid, signum)
            if not signals:
                leave(b"")

        def leave(last_words):
            self._selector.unregister(connection)
            with connection, contextlib.suppress(OSError):
                connection.send(last_words)

        self._selector.register(process, selectors.EVENT_READ, ended)
        self._selector.register(connection, selectors.EVENT_READ, heard)


def _received(connection):
    try:
        return connection.recv(64)
    except OSError:
        return b""


def _request_of(connection):
    """(arguments, environment, folder) and three open files."""
    size, ancillary, _, _ = connection.recvmsg(LENGTH, socket.CMSG_SPACE(3 * 4))
    streams = array.array("i")
    for _, _, data in ancillary:
        streams.frombytes(data)
    missing, pieces = int.from_bytes(size, "little"), []
    while missing > 0:
        piece = connection.recv(missing)
        if not piece:
            return None, streams
        pieces.append(piece)
        missing -= len(piece)
    return marshal.loads(b"".join(pieces)) if pieces else None, streams


# --- the fork -------------------------------------------------------------------------------------


def _become(request, streams, base_path, program):
    """Makes this fork what the request asks for; what is left is to run the result."""
    arguments, environment, folder = request
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    words = arguments[1:]
    if words[0] == "-u":
        words = words[1:]
        sys.stdout.reconfigure(write_through=True)
    sys.executable, sys.orig_argv = program, [program, *words]
    paths = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:] = [*paths, *base_path]
    sys.modules["__main__"] = types.ModuleType("__main__")
    return words


def _run(words):
    """As `python` runs its arguments."""
    how, *rest = words
    if how == "-m":
        sys.argv = ["-m", *rest[1:]]
        sys.path.insert(0, os.getcwd())
        runpy._run_module_as_main(rest[0])
        return
    if how == "-c":
        sys.argv, code = ["-c", *rest[1:]], compile(rest[0], "<string>", "exec")
        sys.path.insert(0, "")
    else:
        sys.argv, code = words, compile(Path(how).read_bytes(), how, "exec")
        sys.path.insert(0, str(Path(how).resolve().parent))
        sys.modules["__main__"].__file__ = how
    exec(code, sys.modules["__main__"].__dict__)


def _main(listener, program):
    base_path = sys.path[1:]
    import torch  # noqa: F401  what all this is for

    gc.freeze()
    request, streams = _Server(socket.socket(fileno=int(listener))).serve()
    _run(_become(request, streams, base_path, program))


if __name__ == "__main__":
    _main(*sys.argv[1:])
