"""A line that says where a comparison is and how long it will take."""

import os
import sys
import time

REFRESH_SECONDS = 0.2
QUIET_SECONDS = 10  # in a log, at least this long between two lines of the same run


def stdout_is_terminal() -> bool:
    """Open MPI gives its ranks a pseudo-terminal, so ask where mpirun's own output goes."""
    if "OMPI_COMM_WORLD_RANK" not in os.environ:
        return sys.stdout.isatty()
    try:
        return os.readlink(f"/proc/{os.getppid()}/fd/1").startswith("/dev/pts/")
    except OSError:
        return False


class TimeLeft:
    """Estimates from the steps done; a step of one kind of run takes longer than of another."""

    def __init__(self, planned: dict[str, int]) -> None:
        self.planned = planned  # steps still to do, per kind
        self.done = dict.fromkeys(planned, 0)
        self.seconds = dict.fromkeys(planned, 0.0)

    def add(self, kind: str, seconds: float) -> None:
        """One step of this kind took so long."""
        self.planned[kind] -= 1
        self.done[kind] += 1
        self.seconds[kind] += seconds

    def estimate(self) -> float:
        """Seconds until the last step."""
        overall = sum(self.seconds.values()) / max(1, sum(self.done.values()))
        return sum(
            steps * (self.seconds[kind] / self.done[kind] if self.done[kind] else overall)
            for kind, steps in self.planned.items()
        )


class Progress:
    """Prints on one rank; a live line on a terminal, now and then a line in a log."""

    def __init__(self, runs: int, time_left: TimeLeft, enabled: bool) -> None:
        self.runs = runs
        self.time_left = time_left
        self.enabled = enabled
        self.live = enabled and stdout_is_terminal()
        self.run = 0
        self.title = ""
        self.kind = ""
        self.last_step = time.perf_counter()
        self.last_print = 0.0

    def begin_run(self, name: str, seed: int, kind: str) -> None:
        self.run += 1
        self.title = f"[{self.run}/{self.runs}] {name}, seed {seed}"
        self.kind = kind
        self.last_step = self.last_print = time.perf_counter()

    def step(self, text: str) -> None:
        """After each step."""
        now = time.perf_counter()
        self.time_left.add(self.kind, now - self.last_step)
        self.last_step = now
        if self.live and now - self.last_print >= REFRESH_SECONDS:
            self._print(f"{self.title}: {text}, {self._left()} left", end="")

    def epoch(self, text: str) -> None:
        """After each epoch; a log gets a line only now and then."""
        if not self.live and time.perf_counter() - self.last_print >= QUIET_SECONDS:
            self._print(f"{self.title}: {text}, {self._left()} left")

    def end_run(self, text: str) -> None:
        left = f"  ({self._left()} left)" if self.run < self.runs else ""
        self._print(f"{self.title}: {text}{left}")

    def _left(self) -> str:
        seconds = round(self.time_left.estimate())
        return f"{seconds // 60}:{seconds % 60:02d} min"

    def _print(self, text: str, end: str = "\n") -> None:
        self.last_print = time.perf_counter()
        if self.enabled:
            start = "\r\x1b[K" if self.live else ""  # over the line that is there
            print(start + text, end=end, flush=True)
