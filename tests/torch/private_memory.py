"""Runs commands with a /dev/shm of their own, where nobody else's files are; as root."""

import functools
import os
import subprocess

import pytest

MOUNT = 'mount -t tmpfs -o "$0" tmpfs /dev/shm && exec "$@"'


def command(options, *words):
    """A command that sees a new /dev/shm, with these options of mount (size=1m, ro)."""
    return ["unshare", "--mount", "sh", "-c", MOUNT, options, *words]


def script(options, text):
    """The same with lines of sh."""
    return command(options, "sh", "-c", text)


@functools.cache
def _hindrance():
    if os.geteuid() != 0:
        return "it needs root"
    tried = subprocess.run(command("size=64k", "true"), capture_output=True, text=True)
    return tried.stderr.strip() if tried.returncode != 0 else None


def needed():
    """Skips a test where there can be none."""
    if _hindrance() is not None:
        pytest.skip(f"a /dev/shm of the test's own cannot be had: {_hindrance()}")
