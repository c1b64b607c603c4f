"""Numbers with their units, short enough for an axis or a cell."""

from __future__ import annotations

from matplotlib.ticker import FuncFormatter

_KIB, _TIME = 1024, 1000


def size_text(size: float) -> str:
    """Bytes with a binary prefix: 64 KiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < _KIB or unit == "GiB":
            return f"{size:.4g} {unit}"
        size /= _KIB
    raise AssertionError("unreachable")


def time_text(microseconds: float) -> str:
    """A duration: 12 µs, 3.4 ms, 1.2 s."""
    for unit in ("µs", "ms", "s"):
        if microseconds < _TIME or unit == "s":
            return f"{microseconds:.3g} {unit}"
        microseconds /= _TIME
    raise AssertionError("unreachable")


def rate_text(rate_mbit: float) -> str:
    """The rate of a link: 100 Mbit/s, 25 Gbit/s."""
    return f"{rate_mbit:g} Mbit/s" if rate_mbit < 1000 else f"{rate_mbit / 1000:g} Gbit/s"


def gain_text(gain: float) -> str:
    """A factor with as many digits as it deserves: 0.87, 1.04, 3.9, 12."""
    if gain < 1.995:
        return f"{gain:.2f}"
    return f"{gain:.1f}" if gain < 9.95 else f"{gain:.0f}"


def error_text(error: float) -> str:
    """A relative error: 3.1 % or 2e-07."""
    if error == 0:
        return "0"
    return f"{100 * error:.2g} %" if error >= 1e-4 else f"{error:.0e}"


TIME_AXIS = FuncFormatter(lambda value, _: time_text(value))
GAIN_AXIS = FuncFormatter(lambda value, _: f"{value:.3g}")
ERROR_AXIS = FuncFormatter(lambda value, _: f"{100 * value:g} %" if value >= 1e-5 else f"{value:g}")
