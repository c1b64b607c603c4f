"""Draws what cpd-codec-perf and the peers of its codecs reach, relative to memcpy of the values."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cpdperf.results import ResultsError, read_document, read_json

# Okabe and Ito's colours, which people with colour blindness tell apart.
NEAREST, STOCHASTIC = "#0072B2", "#E69F00"
LIBRARIES = {"cpdcomm": "#0072B2", "torch": "#D55E00", "ml_dtypes": "#009E73"}
BAR = 0.8  # of the distance between two rows

Rates = dict[tuple[str, str], float]  # kernel, format: bytes of FP32 per second

EPILOG = """\
examples:
  perf/plot codec codec.json
  perf/plot codec codec.json --peers peers.json --values 16Mi --threads 1 --out codec.svg
"""


def in_words(values: int) -> str:
    """A number of values as --values of cpd-codec-perf takes it: 16Ki, 16Mi."""
    for unit, size in (("Mi", 1 << 20), ("Ki", 1 << 10)):
        if values % size == 0:
            return f"{values // size}{unit}"
    return str(values)


def medians(record: dict[str, Any], values: str, threads: int) -> Rates:
    """The medians for one buffer and number of threads, in the order asked for."""
    return {
        (row["kernel"], row["format"]): row["bytes_per_second"]
        for row in record["results"]
        if values in (in_words(row["values"]), str(row["values"])) and row["threads"] == threads
    }


def choices(record: dict[str, Any]) -> str:
    """What --values and --threads can be for this record."""
    found = sorted({(row["values"], row["threads"]) for row in record["results"]})
    return ", ".join(f"--values {in_words(size)} --threads {threads}" for size, threads in found)


def draw_kernel(axes: Axes, kernel: str, formats: list[str], rates: Rates, memcpy: float) -> None:
    """One bar a format; two where there is stochastic rounding, too."""
    roundings = [
        (kernel, NEAREST, "nearest-even"),
        (f"{kernel}_stochastic", STOCHASTIC, "stochastic"),
    ]
    shown = [rounding for rounding in roundings if any(key[0] == rounding[0] for key in rates)]
    for i, (key, colour, label) in enumerate(shown):
        height = BAR / len(shown)
        for row, name in enumerate(formats):
            if (key, name) not in rates:
                continue
            ratio = rates[key, name] / memcpy
            at = row - BAR / 2 + (i + 0.5) * height
            axes.barh(at, ratio, height, color=colour, label=label if row == 0 else None)
            axes.text(ratio, at, f" {ratio:.2g}", va="center", fontsize=6)
    axes.set_title(kernel, fontsize=9)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.margins(x=0.2)


def draw_codec(figure: Any, rates: Rates, title: str) -> None:
    memcpy = rates["memcpy", "fp32"]
    kernels = list(
        dict.fromkeys(k.removesuffix("_stochastic") for k, name in rates if name != "fp32")
    )
    formats = list(dict.fromkeys(name for _, name in rates if name != "fp32"))
    figure.suptitle(title, fontsize=9)
    for axes, kernel in zip(
        figure.subplots(1, len(kernels), sharey=True, squeeze=False)[0], kernels, strict=True
    ):
        draw_kernel(axes, kernel, formats, rates, memcpy)
        axes.set_yticks(range(len(formats)), formats, fontsize=7)
        axes.set_ylim(len(formats) - 0.5, -0.5)
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(handles, labels, loc="outside lower right", ncols=2, fontsize=7)


def draw_peers(figure: Any, record: dict[str, Any]) -> None:
    results = [
        row for row in record["results"] if row["library"] != "torch" or row["format"] != "fp32"
    ]
    context = record["context"]
    figure.suptitle(
        f"Through Python, {record['values']:,} values, one core; torch {context['torch_version']}, "
        f"ml_dtypes {context['ml_dtypes_version']}",
        fontsize=9,
    )
    formats = list(dict.fromkeys(row["format"] for row in results))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, kernel in zip(panels, ("encode", "decode"), strict=True):
        for i, (library, colour) in enumerate(LIBRARIES.items()):
            height = BAR / len(LIBRARIES)
            of_library = {
                row["format"]: row["to_memcpy"]
                for row in results
                if row["kernel"] == kernel and row["library"] == library
            }
            rows = [formats.index(name) - BAR / 2 + (i + 0.5) * height for name in of_library]
            bars = axes.barh(rows, list(of_library.values()), height, color=colour, label=library)
            axes.bar_label(bars, fmt="%.2g", fontsize=6, padding=2)
        axes.set_title(kernel, fontsize=9)
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_yticks(range(len(formats)), formats, fontsize=7)
        axes.set_ylim(len(formats) - 0.5, -0.5)
        axes.margins(x=0.2)
    panels[-1].legend(fontsize=7)


def print_table(rates: Rates) -> None:
    memcpy = rates["memcpy", "fp32"]
    print("| kernel | format | GB/s | of memcpy |\n| :-- | :-- | --: | --: |")
    for (kernel, name), rate in rates.items():
        print(f"| {kernel} | {name} | {rate / 1e9:.2f} | {rate / memcpy:.2f} |")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("codec", type=Path, metavar="CODEC.json", help="JSON of cpd-codec-perf -J")
    parser.add_argument(
        "--peers",
        type=Path,
        metavar="PEERS.json",
        help="JSON of python -m cpdperf.peers.codec -J",
    )
    parser.add_argument("--values", default="16Mi", help="which buffers (default: 16Mi)")
    parser.add_argument("--threads", type=int, default=1, help="which runs (default: 1)")
    parser.add_argument(
        "--out", type=Path, default=Path("codec.png"), help="the picture (default: codec.png)"
    )


def read_codec(path: Path, values: str, threads: int) -> tuple[dict[str, Any], Rates]:
    """The whole record, and the rates of one buffer and number of threads."""
    record = read_document(path, "cpd-codec-perf/1", "the JSON of cpd-codec-perf -J")
    rates = medians(record, values, threads)
    if ("memcpy", "fp32") not in rates:
        raise ResultsError(
            f"{path}: has no memcpy of {values} values with {threads} threads; it has "
            f"{choices(record)}"
        )
    return record, rates


def read_peers(path: Path) -> dict[str, Any]:
    record = read_json(path, "the JSON of python -m cpdperf.peers.codec -J")
    if not isinstance(record, dict) or not record.get("results") or "context" not in record:
        raise ResultsError(
            f'{path}: has no "results"; expected the JSON of python -m cpdperf.peers.codec -J'
        )
    return record


def codec_figure(
    record: dict[str, Any], rates: Rates, peers: dict[str, Any] | None, values: str, threads: int
) -> Figure:
    """A bar for each kernel and format; below them the same through Python, if it was measured."""
    rows = len({name for _, name in rates})
    heights = [1.2 + 0.24 * rows] + ([] if peers is None else [2.6])
    figure = Figure(figsize=(12, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    draw_codec(
        parts[0],
        rates,
        f"FP32 bytes per second relative to memcpy: {values} values, {threads} thread(s), "
        f"{record['machine']['cpu_model']}, {record['date'][:10]}",
    )
    if peers is not None:
        draw_peers(parts[1], peers)
    return figure
