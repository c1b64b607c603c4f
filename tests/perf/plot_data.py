"""Synthetic results for tests of the pictures: plausible times from a simple model, no measurement.

python tests/perf/plot_data.py FOLDER    writes sweep.json, accuracy.json, run.json, targets.json
                                         and never-slower.json there
"""

from __future__ import annotations

import json
import random
import re
import sys
from pathlib import Path
from typing import Any

Json = dict[str, Any]

FORMATS = {"e5m2": 8, "e4m3": 8, "bfp8": 8.125, "mxfp4": 4.25, "e3m0": 4, "int4": 4.0625}
MANY = (
    "fp32 bf16 fp16 e8m15 e8m11 e6m9 e5m10 e5m8 e5m6 e4m7 e5m4 e4m3 e5m2 e3m4 e2m5 e4m3fn e3m2 "
    "e2m3 e3m2fn e2m3fn e2m1fn e3m0 e2m1 e2m0 bfp12 bfp8 bfp6 bfp4 bfp3 bfp2 mxfp8e4m3 mxfp8e5m2 "
    "mxfp6e3m2 mxfp6e2m3 mxfp4 mxint8 int12 int8 int6 int4 sign"
).split()
NETWORKS = {"100mbit": 100, "1gbit": 1000, "10gbit": 10000, "host": None}
SIZES = [1024 * 4**i for i in range(9)]
BASELINES = {  # library: wire, share of the line rate, latency of a step in us
    ("openmpi", "fp32"): (32, 0.70, 6),
    ("openmpi-ring", "fp32"): (32, 0.85, 26),
    ("gloo", "fp32"): (32, 0.94, 60),
    ("gloo", "bf16"): (16, 0.93, 62),
}


def bits_of(wire: str) -> float:
    """Bits of a value with its share of the scales."""
    if wire in ("fp32", "bf16", "fp16"):
        return {"fp32": 32, "bf16": 16, "fp16": 16}[wire]
    if wire == "sign":
        return 1.0625
    if found := re.fullmatch(r"e(\d)m(\d+)(fn)?", wire):
        return 1 + int(found[1]) + int(found[2])
    if found := re.fullmatch(r"mx(?:fp|int)(\d).*", wire):
        return int(found[1]) + 0.25
    found = re.fullmatch(r"(bfp|int)(\d+)", wire)
    assert found, wire
    return int(found[2]) + (0.125 if found[1] == "bfp" else 0.0625)


def error_of(wire: str) -> float:
    """About the error that a format's precision gives."""
    if wire == "fp32":
        return 4e-8
    if wire == "sign":
        return 0.6
    if found := re.search(r"m(\d+)", wire):
        return 0.42 * 2.0 ** -(int(found[1]) + 1) * (2.5 if "e2" in wire else 1)
    if wire in ("bf16", "fp16"):
        return {"bf16": 1.6e-3, "fp16": 2e-4}[wire]
    if wire == "mxfp4":
        return 0.13
    bits = int(re.search(r"(\d+)", wire)[1])
    return 1.7 * 2.0**-bits


def time_of(
    rate_mbit: float | None, ranks: int, count: int, bits: float, share: float, step: float,
    steps: int, codec: float,
) -> float:  # fmt: skip
    """Latency, then the slower of wire and codec with a part of the other, in microseconds."""
    rate = 2.5e9 if rate_mbit is None else rate_mbit * 1e6 / 8
    step = step / 8 if rate_mbit is None else step
    wire = 2 * (ranks - 1) / ranks * count * bits / 8 / (rate * share) * 1e6
    passes = 0 if bits == 32 else 4 * 2 * count / codec * 1e6
    return steps * step + max(wire, passes) + 0.3 * min(wire, passes)


def contenders(ranks: int, formats: dict[str, float]) -> list[tuple[str, str, str, float, Any]]:
    """Library, wire, algorithm, bits and the model's further arguments."""
    found = []
    for wire, bits in {"fp32": 32.0, **formats}.items():
        found.append(("cpdcomm", wire, "ring", bits, (0.95, 22, 2 * (ranks - 1), 5e9)))
        found.append(("cpdcomm", wire, "direct", bits, (0.88, 24, 2, 3.5e9)))
    for (library, wire), (bits, share, step) in BASELINES.items():
        name = "gloo" if library == "gloo" else "mpi"
        found.append((library, wire, name, bits, (share, step, 2 * (ranks - 1), 8e9)))
    return found


def sweep(
    networks: tuple[str, ...] = tuple(NETWORKS), seed: int = 1, formats: Json = FORMATS
) -> Json:
    """A sweep: all networks with 4 ranks, 1 Gbit/s with 2, 3 and 8, too."""
    noise = random.Random(seed)
    pairs = [(network, 4) for network in networks] + [
        ("1gbit", ranks) for ranks in (2, 3, 8) if "1gbit" in networks
    ]
    rows: list[Json] = []
    for network, ranks in sorted(pairs, key=lambda pair: (list(NETWORKS).index(pair[0]), pair[1])):
        for size in SIZES[:7] if network == "100mbit" else SIZES:
            rows += _with_gains(_cell(network, ranks, size, formats, noise))
    return {
        "schema": "cpdperf-sweep/1",
        "date": "2026-11-21T10:00:00Z",
        "command": ["perf/sweep", "--networks", ",".join(networks), "--out", "sweep.json"],
        "machine": {"cpu_model": "a model, not a machine", "instruction_sets": "-", "cores": 4},
        "versions": {"cpdcomm": "0.1.0", "mpi": "Open MPI 4.1.4", "torch": "2.11.0"},
        "settings": {"launches": 3, "iterations": 20},
        "rows": rows,
        "left_out": [{"what": "cpdcomm e3m0 kahan", "reason": "synthetic: was never run"}],
    }


def _cell(network: str, ranks: int, size: int, formats: Json, noise: random.Random) -> list[Json]:
    rate, count, rows = NETWORKS[network], size // 4, []
    for library, wire, algorithm, bits, model in contenders(ranks, formats):
        own = library == "cpdcomm"
        time = time_of(rate, ranks, count, bits, *model) * noise.uniform(0.97, 1.03)
        spread = 0.08 if size < 65536 or rate is None else 0.02
        sent = 2 * (ranks - 1) / ranks * count * bits / 8
        rows.append(
            {
                "network": network, "rate_mbit": rate, "ranks": ranks, "size": size,
                "count": count, "library": library, "wire": wire, "algorithm": algorithm,
                "accumulate": "wide" if own else None,
                "scaling": ("none" if wire == "fp32" else "aps") if own else None,
                "rounding": "nearest_even" if own else None,
                "time_us": time, "time_us_low": time * (1 - spread),
                "time_us_high": time * (1 + spread), "launches": 3, "iterations": 60,
                "launch_medians_us": [time] * 3, "wire_bytes": sent + 64 if own else None,
                "bound_us": None if rate is None else sent * 8 / rate,
                "rel_rms": error_of(wire), "max_error": error_of(wire) * 3, "wrong": 0,
            }
        )  # fmt: skip
    return rows


def _with_gains(rows: list[Json]) -> list[Json]:
    best = min(row["time_us"] for row in rows if row["wire"] == "fp32")
    for row in rows:
        row["gain"] = best / row["time_us"]
        row["gain_low"], row["gain_high"] = row["gain"] * 0.96, row["gain"] * 1.04
    return rows


def run(
    wires: list[str] | None = None, sizes: list[int] | None = None, seed: int = 2, ranks: int = 4
) -> Json:
    """What cpd-allreduce-perf would write for these formats at 1 Gbit/s."""
    noise = random.Random(seed)
    formats = {wire: bits_of(wire) for wire in wires or ["e5m2", "e4m3", "e3m0"]}
    formats.pop("fp32", None)
    results = []
    for size in sizes or SIZES:
        rows = _with_gains(_cell("1gbit", ranks, size, formats, noise))
        results += [_result(row, noise) for row in rows if row["library"] in ("cpdcomm", "openmpi")]
    return {
        "schema": "cpd-allreduce-perf/1",
        "program": "cpd-allreduce-perf",
        "version": "0.1.0",
        "date": "2026-11-21T10:00:00Z",
        "command": ["cpd-allreduce-perf", "--wire", ",".join(formats), "--baseline", "mpi"],
        "machine": {
            "cpu_model": "a model, not a machine", "instruction_sets": "-", "cores": 4,
            "simd_target": "EMU128", "ranks": ranks, "hosts": ["nowhere"] * ranks,
        },
        "mpi": "Open MPI 4.1.4",
        "transport": "mpi",
        "options": {"iters": 20},
        "left_out": [],
        "results": results,
    }  # fmt: skip


def _result(row: Json, noise: random.Random) -> Json:
    times = [row["time_us"] * noise.uniform(0.97, 1.05) for _ in range(20)]
    kept = (
        "size count wire algorithm accumulate scaling rounding ranks wire_bytes gain rel_rms "
        "max_error wrong"
    ).split()
    bandwidth = row["size"] / row["time_us"] / 1000
    own = row["library"] == "cpdcomm"
    return {name: row[name] for name in kept} | {
        "type": "float", "redop": "sum", "in_place": False, "iterations": 20,
        "algorithm_taken": row["algorithm"] if own else None, "time_us": sorted(times)[10],
        "time_us_min": min(times), "time_us_p99": max(times), "times_us": times,
        "algbw": bandwidth, "busbw": bandwidth * 2 * (row["ranks"] - 1) / row["ranks"],
        "wire_bytes_max": row["wire_bytes"],
        "wirebw": row["wire_bytes"] / row["time_us"] / 1000 if own else None,
        "checked_against": "bits" if own else "bound",
    }  # fmt: skip


def accuracy() -> Json:
    """A run of one size with many formats."""
    return run(MANY, [4 << 20])


def never_slower(ranks: tuple[int, ...] = (2, 3, 4, 8), seed: int = 3) -> Json:
    """A map in which MPI is taken below 64 KiB and, on one host with 2 ranks, 4 MiB is too slow."""
    noise = random.Random(seed)
    rows: list[Json] = []
    for network in ("host", "1gbit", "10gbit"):
        for count in ranks:
            for size in [1024 * 4**i for i in range(10)]:
                rows += _beside_mpi(network, count, size, noise)
    return _planned("never-slower", rows)


def _beside_mpi(network: str, ranks: int, size: int, noise: random.Random) -> list[Json]:
    small = size < 65536
    base = {
        "network": network, "rate_mbit": NETWORKS[network], "ranks": ranks, "size": size,
        "count": size // 4, "wire_bytes": None, "bound_us": None, "gain": None, "gain_low": None,
        "gain_high": None, "rel_rms": None, "max_error": None, "wrong": 0, "accumulate": None,
        "scaling": None, "rounding": None,
    }  # fmt: skip
    mpi = base | {"library": "openmpi", "wire": "fp32", "algorithm": "mpi"}
    mpi |= {"algorithm_taken": None, "compressed": None} | _times(10 + size / 200, noise)
    found = [mpi]
    for wire, ratio in (("fp32", 0.85), ("e4m3", 0.35)):
        ratio = 1.0 if small else ratio * noise.uniform(0.9, 1.15)
        if (network, ranks, size, wire) == ("host", 2, 4 << 20, "fp32"):
            ratio = 1.3
        own = base | {"library": "cpdcomm", "wire": wire, "algorithm": "automatic"}
        own |= {"algorithm_taken": "native" if small else "ring", "accumulate": "wide"}
        own |= {"compressed": wire != "fp32" and not small}
        found.append(own | _times(mpi["time_us"] * ratio, noise))
    return found


def _times(middle: float, noise: random.Random) -> Json:
    medians = [middle * noise.uniform(0.995, 1.005) for _ in range(5)]
    return {
        "time_us": middle, "time_us_low": min(medians), "time_us_high": max(medians),
        "launch_medians_us": medians,
    }  # fmt: skip


def targets(seed: int = 5) -> Json:
    """Rows for some targets: e4m3 meets them, e3m0 is not far enough, int2 is near."""
    noise = random.Random(seed)
    gains = {("e4m3", "aps:4096"): 3.95, ("e3m0", "aps:4096"): 6.9, ("int2", "none"): 13.0}
    rows = []
    for network, ranks in (("1gbit", 4), ("1gbit", 8), ("10gbit", 4), ("host", 4)):
        fp32 = _target_row(network, ranks, "fp32", "none", 1.0, noise)
        rows.append(fp32)
        for (wire, scaling), gain in gains.items():
            rows.append(_target_row(network, ranks, wire, scaling, gain, noise))
    return _planned("targets", rows)


def _target_row(
    network: str, ranks: int, wire: str, scaling: str, gain: float, noise: random.Random
) -> Json:
    size, rate = 64 << 20, NETWORKS[network]
    sent = 2 * (ranks - 1) / ranks * size / 4 * bits_of(wire) / 8
    bound = None if rate is None else sent * 8 / rate
    return {
        "network": network, "rate_mbit": rate, "ranks": ranks, "size": size, "count": size // 4,
        "library": "cpdcomm", "wire": wire, "algorithm": "ring", "accumulate": "wide",
        "scaling": scaling, "rounding": "nearest_even", "wire_bytes": sent, "bound_us": bound,
        "gain": gain, "gain_low": 0.985 * gain, "gain_high": 1.015 * gain, "rel_rms": None,
        "max_error": None, "wrong": 0, **_times((bound or 30_000) * 1.05, noise),
    }  # fmt: skip


def _planned(plan: str, rows: list[Json]) -> Json:
    return {
        "schema": "cpdperf-sweep/1", "date": "2026-11-21T10:00:00Z",
        "command": ["perf/sweep", plan], "machine": {"cpu_model": "a model, not a machine"},
        "versions": {}, "settings": {"plan": plan}, "rows": rows, "left_out": [],
    }  # fmt: skip


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    documents = {"sweep": sweep(), "accuracy": accuracy(), "run": run()}
    documents |= {"targets": targets(), "never-slower": never_slower()}
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
