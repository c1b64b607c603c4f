"""Network namespaces: making them, ending what runs in them, entering them."""

import os
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

from cpdperf.lab.state import host_name, hosts_file
from cpdperf.lab.tools import call, find

GRACE_SECONDS = 1.0
# In a host: its own name, the names of the others, and a /dev/shm that only this host sees, so
# that ranks share memory inside their host only, as on real ones.
ENTER_SCRIPT = Path(__file__).with_name("enter-host")


def existing(lab: str) -> list[str]:
    """The namespaces of a lab, whether it is up, half up or half down."""
    listed = [line.split()[0] for line in call("ip", "netns", "list").splitlines() if line]
    return [name for name in listed if re.fullmatch(re.escape(lab) + r"-(\d+|switch)", name)]


def create(namespace: str) -> None:
    call("ip", "netns", "add", namespace)
    call("ip", "-n", namespace, "link", "set", "lo", "up")
    call("ip", "netns", "exec", namespace, "sh", "-c", _SETTLE)


# No IPv6 chatter in the counters, and the same congestion control on every machine.
_SETTLE = """
cd /proc/sys/net
if [ -e ipv6 ]; then echo 1 >ipv6/conf/all/disable_ipv6; fi
echo cubic >ipv4/tcp_congestion_control || echo reno >ipv4/tcp_congestion_control
"""


def delete(namespace: str) -> None:
    """Ends its processes and removes it."""
    _end_processes(namespace)
    call("ip", "netns", "delete", namespace)


def processes(namespace: str) -> list[int]:
    return [int(pid) for pid in call("ip", "netns", "pids", namespace).split()]


def _end_processes(namespace: str) -> None:
    deadline = time.monotonic() + GRACE_SECONDS
    _send(namespace, signal.SIGTERM)
    while processes(namespace) and time.monotonic() < deadline:
        time.sleep(0.05)
    _send(namespace, signal.SIGKILL)


def _send(namespace: str, signum: signal.Signals) -> None:
    for pid in processes(namespace):
        with suppress(ProcessLookupError):  # it ended by itself
            os.kill(pid, signum)


def enter(lab: str, host: int) -> list[str]:
    """The words to put before a command that is to run on a host."""
    return [
        *(find("ip"), "netns", "exec", host_name(lab, host)),
        *(find("unshare"), "--uts", "--ipc", str(ENTER_SCRIPT)),
        *(host_name(lab, host), str(hosts_file(lab))),
    ]
