"""Link rates as people write them."""

import re

from cpdperf.lab.errors import LabError

LOWEST_MBIT = 1
HIGHEST_MBIT = 100_000
ALLOWED = "1mbit to 100gbit in whole mbit, such as 100mbit or 2.5gbit, or none for no limit"


def parse_rate(text: str) -> int | None:
    """Mbit/s, or None for a link without a limit."""
    if text == "none":
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(mbit|gbit)", text)
    mbit = float(found[1]) * (1000 if found[2] == "gbit" else 1) if found else 0
    if mbit != int(mbit) or not _possible(int(mbit)):
        raise LabError(f"rate '{text}': allowed are {ALLOWED}")
    return int(mbit)


def checked_rate(mbit: int | None) -> int | None:
    """The same rate, if a link can have it."""
    if mbit is not None and not _possible(mbit):
        raise LabError(f"rate {mbit} Mbit/s: allowed are {ALLOWED}")
    return mbit


def _possible(mbit: int) -> bool:
    return LOWEST_MBIT <= mbit <= HIGHEST_MBIT


def format_rate(mbit: int | None) -> str:
    """The inverse of parse_rate."""
    if mbit is None:
        return "none"
    return f"{mbit / 1000:g}gbit" if mbit >= 1000 else f"{mbit}mbit"
