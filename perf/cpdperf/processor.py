"""What /proc/cpuinfo says of this machine."""

from pathlib import Path


def cpuinfo(key: str) -> str:
    """The first value of a key; empty where there is none."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(key):
            return line.partition(":")[2].strip()
    return ""


def cpu_model() -> str:
    return cpuinfo("model name") or "unknown"
