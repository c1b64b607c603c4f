"""Holds the wire bytes that the library reports against what the interfaces have carried."""

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from cpdperf.lab.errors import LabError
from cpdperf.lab.lab import Lab
from cpdperf.lab.rates import format_rate, parse_rate
from cpdperf.lab.signals import Interrupted, interruptible

# Of a packet: Ethernet without the checksum that no virtual interface counts, IPv4, TCP with its
# time stamps. An acknowledgement without data is nothing else.
HEADER_BYTES = 14 + 20 + 32
TOLERANCE = 0.02
FORMATS = "fp32,fp16,bf16,e5m6,e4m5,e4m3,bfp8,mxfp8e4m3,e3m2,mxfp6e2m3,e3m0,mxfp4,int4,e2m0,int2"

DESCRIPTION = """\
Runs cpd-allreduce-perf in the network lab, one wire format at a time, and reads the byte counters
of the hosts' interfaces around it. What a call sends is the difference between a long and a short
run, so that starting up does not count; the headers of the packets are taken off. The rest must be
the wire bytes that the library reports, within 2 percent: MPI's own headers and the barrier before
each call come on top.
"""
EPILOG = """\
examples:
  perf/wire                             15 formats of 2 to 32 bits, direct and ring; 3 minutes
  perf/wire --wire e4m3,int2 --algorithm ring --size 16M --out wire.json

exit codes: 0 all agree, 1 one does not, 2 bad usage or another error
"""


@dataclasses.dataclass
class Comparison:
    """One format and algorithm; bytes of one call, sent by a host, the mean over the hosts."""

    wire: str
    algorithm: str
    reported: float
    payload: float  # what the interfaces carried, without headers of packets
    frames: float  # with them

    @property
    def ratio(self) -> float:
        return self.payload / self.reported

    @property
    def agrees(self) -> bool:
        return abs(self.ratio - 1) <= TOLERANCE


@dataclasses.dataclass
class Counted:
    """One run: sent by a host, the mean over the hosts."""

    payload: float
    frames: float
    reported_per_call: float


def count_run(lab: Lab, program: str, size: str, wire: str, algorithm: str, calls: int) -> Counted:
    """Counts one run of so many calls (and one more, before them)."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "run.json")
        command = [program, "-b", size, "-e", size, "-n", str(calls), "-w", "0", "-c", "0"]
        command += ["--wire", wire, "--algorithm", algorithm, "--baseline", "none"]
        with lab.counting() as counted:
            code = lab.run([*command, "-J", str(report)], output=subprocess.DEVNULL, limit=300)
        if code != 0:
            raise LabError(f"{' '.join(command)} ended with {code}")
        (result,) = json.loads(report.read_text())["results"]
    frames = statistics.mean(host.sent_bytes for host in counted)
    packets = statistics.mean(host.sent_packets for host in counted)
    return Counted(frames - HEADER_BYTES * packets, frames, result["wire_bytes"])


def compare(lab: Lab, program: str, size: str, wire: str, algorithm: str, calls: int) -> Comparison:
    """What one call sends: the difference between a run of many calls and one of few."""
    few = count_run(lab, program, size, wire, algorithm, 1)
    many = count_run(lab, program, size, wire, algorithm, 1 + calls)
    return Comparison(
        wire,
        algorithm,
        many.reported_per_call,
        (many.payload - few.payload) / calls,
        (many.frames - few.frames) / calls,
    )


def compare_all(
    options: argparse.Namespace, show: Callable[[Comparison], None]
) -> list[Comparison]:
    found = []
    with Lab(hosts=options.hosts, rate_mbit=parse_rate(options.rate)) as lab:
        for wire in options.wire:
            for algorithm in options.algorithm:
                found.append(
                    compare(lab, options.program, options.size, wire, algorithm, options.calls)
                )
                show(found[-1])
    return found


def as_row(comparison: Comparison) -> str:
    verdict = "agrees" if comparison.agrees else "DISAGREES"
    return (
        f"{comparison.wire:>10} {comparison.algorithm:>18} {comparison.reported:>12,.0f}"
        f" {comparison.payload:>12,.0f} {comparison.frames:>12,.0f} {comparison.ratio:>8.4f}"
        f"  {verdict}"
    )


def write(path: Path, options: argparse.Namespace, found: list[Comparison]) -> None:
    record = {
        "schema": "cpdperf-wire/1",
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "command": ["perf/wire", *sys.argv[1:]],
        "settings": {
            "hosts": options.hosts,
            "rate": format_rate(parse_rate(options.rate)),
            "size": options.size,
            "calls": options.calls,
        },
        "results": [
            dataclasses.asdict(one) | {"ratio": one.ratio, "agrees": one.agrees} for one in found
        ],
    }
    with path.open("x") as file:
        json.dump(record, file, indent=1)
        file.write("\n")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="perf/wire",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = {"type": lambda text: text.split(","), "metavar": "NAME,..."}
    parser.add_argument(
        "--wire", default=FORMATS, help="wire formats (default: %(default)s)", **names
    )
    parser.add_argument("--algorithm", default="direct,ring", help="default: %(default)s", **names)
    parser.add_argument("--size", default="4M", help="of the vector in FP32 (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=10, help="that are counted (default: 10)")
    parser.add_argument("--hosts", type=int, default=4, help="one rank each (default: 4)")
    parser.add_argument("--rate", default="1gbit", help="of each link (default: %(default)s)")
    parser.add_argument(
        "--program",
        default=str(Path(sys.executable).with_name("cpd-allreduce-perf")),
        help="cpd-allreduce-perf, if not the installed one",
    )
    parser.add_argument("--out", type=Path, help="write JSON to this file, which must be new")
    return parser


def main(arguments: list[str]) -> int:
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.calls < 1:
        parser.error(f"--calls {options.calls}: at least 1 is needed")
    if options.out is not None and options.out.exists():
        parser.error(f"--out {options.out} exists; nothing is overwritten")
    print(f"# bytes that a host sends in one call of {options.size}, {options.hosts} hosts")
    print(
        "#     wire          algorithm     reported      payload       frames    ratio\n"
        "#                                            without headers        (payload/reported)"
    )
    try:
        with interruptible():
            found = compare_all(options, lambda one: print(as_row(one), flush=True))
    except LabError as error:
        print(f"wire: {error}", file=sys.stderr)
        return 2
    except Interrupted as interrupt:
        print(f"wire: ended by {interrupt}", file=sys.stderr)
        return interrupt.exit_code
    if options.out is not None:
        write(options.out, options, found)
    wrong = [one for one in found if not one.agrees]
    print(f"# {len(found) - len(wrong)} of {len(found)} agree within {TOLERANCE:.0%}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
