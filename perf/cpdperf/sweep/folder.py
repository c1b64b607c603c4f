"""The folder of a run: what was asked for, and one file for each launch that ended."""

from __future__ import annotations

import datetime
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpdperf.sweep.plan import Launch

SCHEMA = "cpdperf-sweep-run/1"


class FolderError(Exception):
    """A run folder cannot be used; the message says why."""


def write_whole(path: Path, document: object) -> None:
    """Writes JSON so that the file is either all there or not there at all."""
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "w") as file:
        json.dump(document, file, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def utc_now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


@dataclass(frozen=True)
class RunFolder:
    """A folder that holds the run with this header."""

    path: Path
    header: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> RunFolder:
        """The folder of an earlier start."""
        try:
            header = json.loads((path / "settings.json").read_text())
        except (OSError, ValueError) as error:
            raise FolderError(f"{path} is not a run folder of perf/sweep: {error}") from None
        if header.get("schema") != SCHEMA:
            raise FolderError(
                f"{path}/settings.json has schema {header.get('schema')}, not {SCHEMA}"
            )
        return cls(path, header)

    @classmethod
    def open(cls, path: Path, settings: dict[str, Any], command: list[str]) -> RunFolder:
        """A new folder, or one that was begun with the same settings."""
        if (path / "settings.json").exists():
            folder = cls.read(path)
            folder._require(settings)
            return folder
        if path.exists() and any(path.iterdir()):
            raise FolderError(f"{path} holds other files; choose another --run-dir")
        (path / "launches").mkdir(parents=True, exist_ok=True)
        header = {"schema": SCHEMA, "date": utc_now(), "command": command, "settings": settings}
        header |= {"cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0]}
        write_whole(path / "settings.json", header)
        return cls(path, header)

    def _require(self, settings: dict[str, Any]) -> None:
        there = self.header["settings"]
        different = [
            f"  {name}: {there.get(name)} there, {settings.get(name)} now"
            for name in sorted(there.keys() | settings.keys())
            if there.get(name) != settings.get(name)
        ]
        if different:
            lines = "\n".join(different)
            raise FolderError(
                f"{self.path} was begun with other settings:\n{lines}\n"
                "use the same settings to go on, or another --run-dir"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second sweep out of the folder; the system unlocks it when a process dies."""
        with open(self.path / "lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FolderError(f"another perf/sweep works in {self.path}") from None
            yield

    def path_of(self, launch: Launch) -> Path:
        return self.path / "launches" / f"{launch.name}.json"

    def store(self, launch: Launch, record: dict[str, Any]) -> None:
        write_whole(self.path_of(launch), record)

    def load(self, launch: Launch) -> dict[str, Any] | None:
        """What a launch left; None when it has not ended yet."""
        path = self.path_of(launch)
        if not path.exists():
            return None
        try:
            return json.loads(path.read_text())
        except ValueError as error:
            raise FolderError(f"{path} is not JSON ({error}); remove it to repeat it") from None

    def finished(self, launch: Launch) -> dict[str, Any] | None:
        """The record of a launch that gave results; one that failed is to be repeated."""
        record = self.load(launch)
        return record if record and record["result"] else None
