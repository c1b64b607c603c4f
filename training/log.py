"""The log of a comparison: a folder with one JSON record a line."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE_NAME = "log.jsonl"

Record = dict[str, Any]


class FolderTaken(Exception):
    """The output folder holds something already."""


def prepare_folder(asked: Path | None, default: Path, force: bool) -> Path:
    """The folder to write to. Nothing is overwritten unless `force` says so.

    Without a wish it is `default`, or the first of default-2, default-3, ... that is not there.
    """
    folder = asked or next(path for path in _numbered(default) if not path.exists())
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not force:
        raise FolderTaken(
            f"{folder} is not empty. Choose another --out, or --force to overwrite it."
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _numbered(default: Path) -> Iterator[Path]:
    yield default
    number = 2
    while True:
        yield default.with_name(f"{default.name}-{number}")
        number += 1


class Log:
    """Appends records; each is in the file when `write` returns. Without a folder: in memory."""

    def __init__(self, folder: Path | None) -> None:
        self.records: list[Record] = []
        self.file = None if folder is None else (folder / FILE_NAME).open("w")

    def write(self, kind: str, record: Record) -> None:
        self.records.append(_finite({"record": kind, **record}))
        if self.file is not None:
            self.file.write(json.dumps(self.records[-1]) + "\n")
            self.file.flush()


def read(folder: Path) -> list[Record]:
    """The records of a folder's log."""
    return [json.loads(line) for line in (folder / FILE_NAME).read_text().splitlines()]


def _finite(record: Record) -> Record:
    """JSON has no NaN and no infinity: null stands for a loss that diverged."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in record.items()
    }
