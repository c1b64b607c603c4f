#!/usr/bin/env python3
"""Stands in for cpd-allreduce-perf and gloo in tests of the sweep: made-up times, right schema.

The times follow from the command line alone. Variables make it fail, each naming a part of the
output file's name: FAKE_FAILS exits with 2, FAKE_WRONG reports a wrong value, FAKE_HANGS sleeps.
"""

import argparse
import json
import os
import random
import statistics
import sys
import time
import zlib
from pathlib import Path

BITS = {"fp32": 32, "bf16": 16, "e4m3": 8, "bfp8": 8, "int8": 8, "e3m0": 4, "int2": 2}


def parse():
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add("-b", type=int)
    add("-e", type=int)
    add("-f", type=int)
    add("-n", type=int)
    add("-w", type=int)
    add("-c", type=int)
    add("-J")
    add("--wire", default="fp32,bf16")
    add("--algorithm", default="gloo")
    for name in ("accumulate", "scaling", "rounding", "baseline", "input", "seed", "result"):
        add(f"--{name}")
    add("--time-limit")
    options = parser.parse_args()
    if Path(sys.argv[0]).name == "cpd-mpich-perf":
        options.wire, options.baseline = "none", "mpi"
    return options


def contenders(options):
    """Wire, algorithm, way to add, scaling; as the program leaves out what cannot be."""
    if options.baseline == "mpi":
        yield "fp32", "mpi", None, None
    if options.wire == "none":
        return
    for wire in options.wire.split(","):
        for algorithm in options.algorithm.split(","):
            if algorithm == "gloo":
                yield wire, algorithm, None, None
            elif wire == "fp32":
                yield wire, algorithm, "wide", "none"
            elif wire.startswith(("bfp", "int")):
                for accumulate in options.accumulate.split(","):
                    scaling = "aps" if accumulate == "exact" else "none"
                    yield wire, algorithm, accumulate, scaling
            else:
                for scaling in options.scaling.split(","):
                    yield wire, algorithm, "wide", scaling.replace("automatic", "aps")


def row(options, size, wire, algorithm, accumulate, scaling, wrong):
    ranks = int(os.environ["OMPI_COMM_WORLD_SIZE"])
    is_ours = algorithm not in ("mpi", "gloo")
    sent = size * BITS[wire] / 32 * 2 * (ranks - 1) / ranks
    name = f"{os.path.basename(options.J)} {size} {wire} {algorithm} {accumulate} {scaling}"
    noise = random.Random(zlib.crc32(name.encode()))
    times = [(100 + sent / 100) * noise.uniform(1.0, 1.2) for _ in range(options.n)]
    median = statistics.median(times)
    return {
        "size": size,
        "count": size // 4,
        "type": "float",
        "redop": "sum",
        "wire": wire,
        "algorithm": algorithm,
        "algorithm_taken": algorithm.replace("automatic", "ring") if is_ours else None,
        "accumulate": accumulate,
        "scaling": scaling,
        "rounding": "nearest_even" if is_ours else None,
        "in_place": False,
        "ranks": ranks,
        "iterations": len(times),
        "time_us": median,
        "time_us_min": min(times),
        "time_us_p99": max(times),
        "times_us": times,
        "algbw": size / median / 1e3,
        "busbw": size / median / 1e3,
        "wire_bytes": sent if is_ours else None,
        "wire_bytes_max": sent if is_ours else None,
        "wirebw": sent / median / 1e3 if is_ours else None,
        "gain": None,
        "rel_rms": 2.0 ** -BITS[wire] if options.c else None,
        "max_error": 0.5 if options.c else None,
        "checked_against": "bits" if options.c else None,
        "wrong": wrong if options.c else None,
        "result": "full" if accumulate == "exact" else None,
        "compressed": wire != "fp32" if is_ours else None,
        "codec_us": 1.0 if is_ours else None,
        "wait_us": 2.0 if is_ours else None,
    }


def asked(variable, options):
    return variable in os.environ and os.environ[variable] in os.path.basename(options.J)


def main():
    options = parse()
    for wire in options.wire.split(","):
        if wire not in [*BITS, "none"]:
            print(f"unknown format '{wire}'")
            return 2
    if os.environ.get("OMPI_COMM_WORLD_RANK", "0") != "0" or not options.J:
        return 0
    if asked("FAKE_FAILS", options):
        print("the fake was told to fail")
        return 2
    if asked("FAKE_HANGS", options):
        Path(os.environ["FAKE_MARK"]).write_text(str(os.getpid()))
        time.sleep(60)
    wrong = 3 if asked("FAKE_WRONG", options) else 0
    results = []
    size = options.b
    while size <= options.e:
        results += [row(options, size, *one, wrong) for one in contenders(options)]
        size *= options.f
    hosts = ["fake"] * int(os.environ["OMPI_COMM_WORLD_SIZE"])
    document = {
        "schema": "cpd-allreduce-perf/1",
        "program": "fake",
        "version": "0.1",
        "date": "2026-11-21T00:00:00+00:00",
        "command": sys.argv,
        "machine": {
            "cpu_model": "a made-up one",
            "instruction_sets": "none",
            "cores": 1,
            "simd_target": "none",
            "ranks": len(hosts),
            "hosts": hosts,
        },
        "mpi": "Fake MPI",
        "transport": "fake",
        "options": vars(options),
        "left_out": [{"contender": "sign rounded", "reason": "made up"}],
        "results": results,
    }
    Path(options.J).write_text(json.dumps(document))
    return 1 if wrong and options.c else 0


if __name__ == "__main__":
    sys.exit(main())
