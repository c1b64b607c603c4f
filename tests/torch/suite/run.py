"""Runs torch's own distributed test suite for one backend and writes what came out.

    python tests/torch/suite/run.py --backend gloo --out gloo.json
    python tests/torch/suite/run.py --backend cpd --only test_reduce --out cpd.json

The ranks are processes that stay: each test makes the process group anew. After a test that hangs
or kills a rank all ranks start again, with the next test.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import os
import sys
import tempfile
import time
import traceback
import unittest
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

TEST_SECONDS = 200.0  # a test that takes longer hangs, also on a busy machine
GROUP_SECONDS = 100.0  # as the suite has it
START_SECONDS = 300.0


def test_names(backend: str) -> list[str]:
    from suite.load import load

    base = load(backend).DistributedTest._DistTestBase
    return sorted(name for name in dir(base) if name.startswith("test_"))


def serve(
    backend: str, rank: int, ranks: int, folder: str, inbox: mp.SimpleQueue, outbox: mp.Queue
):
    """One rank: a test for each name that comes, a result for each test."""
    os.environ.update(
        WORLD_SIZE=str(ranks),
        RANK=str(rank),
        TEMP_DIR=folder,
        MASTER_ADDR="127.0.0.1",
        INIT_METHOD=f"file://{folder}/shared_store",
    )
    os.environ.pop("MASTER_PORT", None)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115  as long as the process lives
    import torch

    torch.set_num_threads(1)
    if backend == "cpd":
        import cpdcomm  # noqa: F401  registers the backend
    from suite.load import load

    suite = load(backend)

    # The suite's own case would start processes for each test; a rank of 0 or more runs it here.
    class Case(suite.TestDistBackend, suite.DistributedTest._DistTestBase):
        pass

    outbox.put((rank, "ready", ""))
    while (name := inbox.get()) is not None:
        outbox.put((rank, *run_one(suite, Case, backend, name, rank, ranks, folder)))


def run_one(suite, case_type, backend, name, rank, ranks, folder) -> tuple[str, str]:
    import torch.distributed as dist
    from torch.testing._internal.common_distributed import TEST_SKIPS
    from torch.testing._internal.common_utils import set_rng_seed

    case = case_type(name)
    method = getattr(case, name)
    if getattr(method, "__unittest_skip__", False):
        return "skipped", method.__unittest_skip_why__
    set_rng_seed()  # the same on all ranks, as unittest's set-up has it
    case.rank = rank
    case.file_name = os.path.join(folder, f"store-{name}")
    suite.Barrier.barrier_id = 0
    skips = {skip.exit_code for skip in TEST_SKIPS.values()}
    try:
        dist.init_process_group(
            init_method=case.init_method,
            backend=backend,
            world_size=ranks,
            rank=rank,
            timeout=timedelta(seconds=suite.CUSTOM_PG_TIMEOUT.get(name, GROUP_SECONDS)),
        )
        case._barrier()
        method()
        case._barrier()
        return "passed", ""
    except unittest.SkipTest as skip:
        return "skipped", str(skip)
    except SystemExit as end:
        return ("skipped", "") if end.code in skips else ("failed", f"exit {end.code}")
    except BaseException:
        return "failed", traceback.format_exc(limit=-8)
    finally:
        try:
            dist.destroy_process_group()
        except BaseException as error:
            print(f"after {name}: {error}")


class Ranks:
    """The processes, which can be started again."""

    def __init__(self, backend: str, ranks: int) -> None:
        self.backend, self.ranks = backend, ranks
        self.processes: list = []

    def start(self) -> None:
        context = mp.get_context("fork")  # torch is there already, and no thread
        self.folder = tempfile.TemporaryDirectory(prefix="cpdcomm-suite-")
        for name in ("barrier", "test_dir", "init_dir"):
            os.mkdir(os.path.join(self.folder.name, name))
        self.inboxes = [context.SimpleQueue() for _ in range(self.ranks)]  # no thread, either
        self.outbox = context.Queue()
        for rank in range(self.ranks):
            process = context.Process(
                target=serve,
                args=(
                    self.backend,
                    rank,
                    self.ranks,
                    self.folder.name,
                    self.inboxes[rank],
                    self.outbox,
                ),
                daemon=True,
            )
            process.start()
            self.processes.append(process)
        if len(self.collect(START_SECONDS)) < self.ranks:
            raise RuntimeError(f"not all ranks were there after {START_SECONDS:.0f} s")

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()
        self.processes = []
        self.folder.cleanup()

    def collect(self, seconds: float) -> dict[int, tuple[str, str]]:
        """A word of every rank; of those that do not come in time, or die, none."""
        found: dict[int, tuple[str, str]] = {}
        end = time.monotonic() + seconds
        while len(found) < self.ranks and time.monotonic() < end:
            try:
                rank, outcome, text = self.outbox.get(timeout=0.5)
                found[rank] = (outcome, text)
            except Exception:
                if not any(process.is_alive() for process in self.processes):
                    break
        return found

    def run(self, name: str) -> tuple[str, str]:
        if not self.processes:
            self.start()
        for file in Path(self.folder.name, "barrier").iterdir():
            file.unlink()
        for inbox in self.inboxes:
            inbox.put(name)
        found = self.collect(TEST_SECONDS)
        outcomes = {outcome for outcome, _ in found.values()}
        if len(found) < self.ranks:
            self.stop()
            texts = "\n".join(text for _, text in found.values() if text)
            return "failed", f"{self.ranks - len(found)} ranks hang or are gone\n{texts}"
        if outcomes == {"passed"} or outcomes == {"skipped"}:
            return outcomes.pop(), found[0][1]
        if outcomes == {"passed", "skipped"}:  # some are for some ranks alone
            return "passed", ""
        self.stop()  # what it leaves behind is not the next one's
        return "failed", next(text for outcome, text in found.values() if outcome == "failed")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", choices=("cpd", "gloo"), default="cpd")
    parser.add_argument("--ranks", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="tests whose names begin so")
    parser.add_argument("--names", type=Path, help="a JSON list of the tests to run")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    os.environ["WORLD_SIZE"] = str(options.ranks)
    os.environ.setdefault("TEMP_DIR", tempfile.gettempdir())
    names = test_names(options.backend)
    if options.only:
        names = [name for name in names if name.startswith(tuple(options.only))]
    if options.names:
        wanted = set(json.loads(options.names.read_text()))
        names = [name for name in names if name in wanted]
    ranks = Ranks(options.backend, options.ranks)
    results = {}
    for number, name in enumerate(names, 1):
        begin = time.monotonic()
        outcome, text = ranks.run(name)
        results[name] = {"outcome": outcome, "text": text}
        seconds = time.monotonic() - begin
        print(f"{number}/{len(names)} {outcome:7} {seconds:5.1f} s {name}", flush=True)
        options.out.write_text(json.dumps(results, indent=1))
    if ranks.processes:
        ranks.stop()
    counts = {o: sum(r["outcome"] == o for r in results.values()) for o in ("passed", "failed")}
    print(f"{counts['passed']} passed, {counts['failed']} failed, of {len(results)}")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
