"""The commands of perf/plot, their options and what they write."""

from __future__ import annotations

import argparse
import functools
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from cpdperf.plot import codec, ddp_step, never_slower, targets
from cpdperf.plot.growth import growth_figure, read_growth
from cpdperf.plot.page import page
from cpdperf.plot.palette import png
from cpdperf.plot.pictures import (
    Picture,
    accuracy_picture,
    run_pictures,
    sweep_pictures,
)
from cpdperf.plot.style import DPI
from cpdperf.results import ResultsError, read_allreduce, read_sweep

ERROR_LIMIT = 0.1
PAGE = "index.html"
NAMED = 3  # files that would be overwritten, in the message

EPILOG = """\
examples:
  mpirun -n 4 cpd-allreduce-perf --wire fp32,e4m3,e3m0 --baseline mpi -J run.json
  perf/plot run run.json --rate 25gbit          run-time.png and run-gain.png beside it
  perf/plot sweep sweep.json                    all pictures and a page of a sweep
  perf/plot accuracy run.json                   error over bits sent, of all formats in the run
  perf/plot targets sweep.json                  of perf/sweep targets: what is met
  perf/plot never-slower sweep.json             of perf/sweep never-slower: the map
  perf/plot codec codec.json                    rates of the codecs, relative to memcpy
  perf/plot growth growth.json                  error over the number of ranks
  perf/plot ddp-step step.json                  of perf/ddp-step: a training step's time

perf/plot COMMAND --help says more. Nothing is overwritten without --force.
"""

SWEEP = """\
Draws a sweep: where each format wins (size against network, and against ranks), the gain over the
best FP32, time against size with the bound of the link, and the error over the bits sent.
index.html holds all of it, with the numbers, in one file that needs no other.
"""
SWEEP_EPILOG = """\
examples:
  perf/plot sweep runs/sweep-2026-11-21/sweep.json
  perf/plot sweep sweep.json --accuracy accuracy.json --out pictures
  perf/plot sweep sweep.json --error-limit 0.03 --force

The map of winners is drawn twice: of all formats, and of those whose sum had at most the error of
--error-limit, because the fastest format is often one that hardly keeps anything of the values.
"""

RUN = """\
Draws time against size and the gain over the best FP32 from one run of cpd-allreduce-perf. The gain
needs a contender with fp32 on the wire: run with --baseline mpi, or fp32 in --wire.
"""
RUN_EPILOG = """\
examples:
  perf/plot run run.json
  perf/plot run run.json --rate 25gbit --out pictures
"""

ACCURACY = """\
Draws the relative RMS error of the sum over the bits sent per value, of all formats in one run of
cpd-allreduce-perf, at its largest size. Measure many formats at one size for it.
"""
ACCURACY_EPILOG = """\
examples:
  mpirun -n 4 cpd-allreduce-perf -b 4M -e 4M --input gradients \\
      --wire fp32,bf16,e5m2,e4m3,e3m0,bfp8,mxfp4,int8,sign -J accuracy.json
  perf/plot accuracy accuracy.json --out accuracy.png
"""


GROWTH = """\
Draws how the error of a sum grows with the number of ranks, for each algorithm and format of one
run of cpd-error-growth.
"""
GROWTH_EPILOG = """\
examples:
  cpd-error-growth --wire e4m3,e3m0 -J growth.json
  perf/plot growth growth.json --out growth.png
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = parser().parse_args(arguments)
    try:
        parsed.run(parsed)
    except ResultsError as error:
        print(f"perf/plot: {error}", file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="perf/plot",
        description="Draws what was measured, from the JSON of the benchmarks.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = root.add_subparsers(metavar="COMMAND", required=True)
    _add_sweep(
        _command(commands, "sweep", "all pictures and a page of a sweep", SWEEP, SWEEP_EPILOG)
    )
    _add_run(_command(commands, "run", "time and gain of one run", RUN, RUN_EPILOG))
    accuracy = _command(commands, "accuracy", "error over bits sent", ACCURACY, ACCURACY_EPILOG)
    _add_picture(accuracy, "accuracy", "cpd-allreduce-perf -J", _draw_accuracy)
    growth = _command(commands, "growth", "error over ranks", GROWTH, GROWTH_EPILOG)
    _add_picture(growth, "growth", "cpd-error-growth -J", _draw_growth)
    step = _command(commands, ddp_step.NAME, ddp_step.SHORT, ddp_step.__doc__, ddp_step.EPILOG)
    _add_picture(step, "step", "perf/ddp-step -J", _draw_step)
    for name, drawing in (("targets", targets), ("never-slower", never_slower)):
        added = _command(commands, name, drawing.SHORT, drawing.__doc__, drawing.EPILOG)
        draw = functools.partial(_draw_plan, drawing=drawing)
        _add_picture(added, "sweep", f"perf/sweep {drawing.NAME}", draw)
    of_codec = _command(commands, "codec", "rates of the codecs", codec.__doc__, codec.EPILOG)
    codec.add_arguments(of_codec)
    of_codec.set_defaults(run=_draw_codec)
    return root


def _command(
    commands: argparse._SubParsersAction, name: str, short: str, description: str, epilog: str
) -> argparse.ArgumentParser:
    added = commands.add_parser(
        name,
        help=short,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    added.add_argument("--force", action="store_true", help="overwrite files that exist")
    return added


def _add_sweep(added: argparse.ArgumentParser) -> None:
    added.add_argument("sweep", type=Path, metavar="SWEEP.json", help="written by perf/sweep")
    added.add_argument(
        "--accuracy",
        type=Path,
        metavar="ACCURACY.json",
        help="a run of cpd-allreduce-perf with many formats, for the picture of the error "
        "(default: the formats of the sweep)",
    )
    added.add_argument(
        "--error-limit",
        type=_error_limit,
        default=ERROR_LIMIT,
        metavar="E",
        help=f"relative RMS error for the second map of winners (default: {ERROR_LIMIT})",
    )
    added.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where to write (default: pictures, beside SWEEP.json)",
    )
    added.set_defaults(run=_draw_sweep)


def _add_run(added: argparse.ArgumentParser) -> None:
    added.add_argument(
        "allreduce", type=Path, metavar="ALLREDUCE.json", help="written by cpd-allreduce-perf -J"
    )
    added.add_argument(
        "--rate",
        type=_rate_mbit,
        metavar="RATE",
        help="of a rank's link, as 25gbit or 100mbit: draws the time that the bytes need on it; "
        "with several ranks on a host, the host's link divided by them",
    )
    added.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where to write (default: where ALLREDUCE.json lies)",
    )
    added.set_defaults(run=_draw_run)


def _add_picture(
    added: argparse.ArgumentParser,
    source: str,
    writer: str,
    draw: Callable[[argparse.Namespace], None],
) -> None:
    """One picture of one JSON file."""
    name = source.upper()
    added.add_argument(source, type=Path, metavar=f"{name}.json", help=f"written by {writer}")
    added.add_argument(
        "--out", type=Path, metavar="FILE", help=f"the PNG (default: {name}.png, beside the JSON)"
    )
    added.set_defaults(run=draw)


def _free_path(options: argparse.Namespace, source: Path) -> Path:
    """Where a command's one picture goes."""
    path = options.out or source.with_suffix(".png")
    _check_free([path], options.force)
    return path


def _draw_plan(options: argparse.Namespace, drawing: ModuleType) -> None:
    results = read_sweep(options.sweep)
    picture = drawing.picture(results)
    _write_pictures({_free_path(options, options.sweep): picture})


def _draw_sweep(options: argparse.Namespace) -> None:
    sweep = read_sweep(options.sweep)
    accuracy = None if options.accuracy is None else read_allreduce(options.accuracy)
    folder = options.out or options.sweep.parent / "pictures"
    pictures = sweep_pictures(sweep, accuracy, options.error_limit)
    paths = {folder / f"{picture.name}.png": picture for picture in pictures}
    _check_free([*paths, folder / PAGE], options.force)
    drawn = _write_pictures(paths)
    others = [] if accuracy is None else [accuracy]
    title = "All-reduce with few bits per value: what pays where"
    _write(folder / PAGE, page(title, sweep, others, drawn).encode())


def _draw_run(options: argparse.Namespace) -> None:
    results = read_allreduce(options.allreduce, options.rate)
    folder = options.out or options.allreduce.parent
    pictures = run_pictures(results)
    paths = {_run_path(folder, options.allreduce, picture): picture for picture in pictures}
    _check_free(paths, options.force)
    _write_pictures(paths)
    if not any(row.gain is not None for row in results.rows):
        print("no gain drawn: the run has no FP32 to compare with; add --baseline mpi to it")


def _run_path(folder: Path, source: Path, picture: Picture) -> Path:
    """A run is one network and number of ranks: run.json gives run-time.png and run-gain.png."""
    return folder / f"{source.stem}-{picture.name.split('-')[0]}.png"


def _draw_accuracy(options: argparse.Namespace) -> None:
    picture = accuracy_picture(read_allreduce(options.accuracy))
    _write_pictures({_free_path(options, options.accuracy): picture})


def _draw_growth(options: argparse.Namespace) -> None:
    figure = growth_figure(read_growth(options.growth))
    _write(_free_path(options, options.growth), png(figure, DPI))


def _draw_step(options: argparse.Namespace) -> None:
    figure = ddp_step.step_figure(ddp_step.read_step(options.step))
    _write(_free_path(options, options.step), png(figure, DPI))


def _draw_codec(options: argparse.Namespace) -> None:
    record, rates = codec.read_codec(options.codec, options.values, options.threads)
    peers = None if options.peers is None else codec.read_peers(options.peers)
    _check_free([options.out], options.force)
    codec.print_table(rates)
    figure = codec.codec_figure(record, rates, peers, options.values, options.threads)
    try:
        figure.savefig(options.out, dpi=100)
    except (OSError, ValueError) as error:  # no such folder, or a format that is not known
        raise ResultsError(f"{options.out}: cannot be written ({error})") from None


def _check_free(paths: Sequence[Path] | dict[Path, Picture], force: bool) -> None:
    """Before anything is drawn, let alone written."""
    taken = [str(path) for path in paths if path.exists()]
    if taken and not force:
        named = ", ".join(taken[:NAMED]) + (
            f" and {len(taken) - NAMED} more" * (len(taken) > NAMED)
        )
        raise ResultsError(f"would overwrite {named}; choose another --out, or add --force")


def _write_pictures(paths: dict[Path, Picture]) -> dict[Picture, bytes]:
    drawn = {}
    for path, picture in paths.items():
        drawn[picture] = png(picture.draw(), DPI)
        _write(path, drawn[picture])
    return drawn


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise ResultsError(f"{path}: cannot be written ({error.strerror})") from None
    print(path)


def _rate_mbit(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([mg])bit(?:/s)?", text.lower())
    if not found or float(found[1]) == 0:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a rate; allowed is a number above 0 with mbit or gbit, as 25gbit"
        )
    return float(found[1]) * (1000 if found[2] == "g" else 1)


def _error_limit(text: str) -> float:
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not 0 < limit < float("inf"):
        raise argparse.ArgumentTypeError(
            f"'{text}' is not an error; allowed is a number above 0, as 0.1 for 10 percent"
        )
    return limit
