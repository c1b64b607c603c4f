"""Whether the network lab can be brought up here."""

import os
import shutil
import subprocess

import pytest


def why_none() -> str | None:
    """What is missing for network namespaces; None if nothing is."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None or shutil.which("tc") is None:
        return "ip or tc is not installed (iproute2)"
    probe = f"t{os.getpid()}-probe"
    try:
        # To enter one takes mounts, which a plain chroot refuses.
        for command in (["add", probe], ["exec", probe, "true"]):
            tried = subprocess.run(["ip", "netns", *command], capture_output=True, text=True)
            if tried.returncode != 0:
                return f"ip netns {command[0]}: {tried.stderr.strip()}"
    finally:
        subprocess.run(["ip", "netns", "delete", probe], capture_output=True)
    return None


REASON = why_none()
needs_namespaces = pytest.mark.skipif(REASON is not None, reason=str(REASON))
