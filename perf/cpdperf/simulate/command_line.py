"""The command perf/simulate: its options and what it writes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from cpdperf.plot.palette import png
from cpdperf.plot.style import DPI
from cpdperf.results import ResultsError
from cpdperf.simulate.pictures import time_figure, winners_figure
from cpdperf.simulate.simulation import Record, networks_of, read_simulation

DESCRIPTION = """\
Draws what cpd-simulate predicts, two pictures for each network: which format and algorithm are
fastest for each number of ranks and size, and the time against the ranks.
"""
EPILOG = """\
examples:
  cpd-simulate --network 1gbit,10gbit --ranks 4,16,64,256,1024 -J simulation.json
  perf/simulate simulation.json             simulation-winners-1gbit.png and three more beside it
  perf/simulate simulation.json --out pictures --force

exit codes: 0 drawn, 2 bad usage or another error
"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        _draw(options)
    except ResultsError as error:
        print(f"perf/simulate: {error}", file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="perf/simulate",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "simulation", type=Path, metavar="SIMULATION.json", help="written by cpd-simulate -J"
    )
    made.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where to write (default: where SIMULATION.json lies)",
    )
    made.add_argument("--force", action="store_true", help="overwrite files that exist")
    return made


def _draw(options: argparse.Namespace) -> None:
    record = read_simulation(options.simulation)
    folder = options.out or options.simulation.parent
    paths = [
        folder / f"{options.simulation.stem}-{what}-{network}.png"
        for network in networks_of(record)
        for what in ("winners", "time")
    ]
    taken = [str(path) for path in paths if path.exists()]
    if taken and not options.force:
        raise ResultsError(f"would overwrite {taken[0]}; choose another --out, or add --force")
    for path, figure in zip(paths, _figures(record), strict=True):
        _write(path, figure)


def _figures(record: Record) -> list[Figure]:
    """In the order of the names."""
    return [
        draw(record, network)
        for network in networks_of(record)
        for draw in (winners_figure, time_figure)
    ]


def _write(path: Path, figure: Figure) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(figure, DPI))
    except OSError as error:
        raise ResultsError(f"{path}: cannot be written ({error.strerror})") from None
    print(path)
