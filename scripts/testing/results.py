"""What the tests of a stage said: cases, how long each took, which failed."""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    name: str
    seconds: float
    verdict: str  # passed, failed, skipped
    file: str = ""  # of a Python test

    @property
    def failed(self):
        return self.verdict == "failed"


@dataclass(frozen=True)
class Compilation:
    output: str
    seconds: float


@dataclass
class StageResult:
    """What is known of a stage when it has ended."""

    name: str
    seconds: dict = field(default_factory=dict)  # of its parts: build, tests, ...
    cases: list = field(default_factory=list)
    compilations: list = field(default_factory=list)
    failures: list = field(default_factory=list)  # what failed, and the command that repeats it

    @property
    def total(self):
        return sum(self.seconds.values())


def cases_of(junit):
    """The cases of a JUnit file of ctest or pytest; none where there is no file."""
    if not junit.exists():
        return []
    return [_case(element) for element in ET.parse(junit).getroot().iter("testcase")]


def _case(element):
    # ctest says in an attribute what pytest says in an element.
    tags = {child.tag for child in element}
    status = element.get("status", "")
    if tags & {"failure", "error"} or status == "fail":
        verdict = "failed"
    elif "skipped" in tags or status in ("disabled", "notrun"):
        verdict = "skipped"
    else:
        verdict = "passed"
    file = element.get("file", "")
    name = f"{file}::{element.get('name')}" if file else element.get("name")
    return Case(name, float(element.get("time", 0)), verdict, file)


def compilations_of(ninja_log, already):
    """What ninja made since its log had so many bytes; all of it where the log was rewritten."""
    if not ninja_log.exists():
        return []
    text = ninja_log.read_text()
    news = text[already:] if already <= len(text) else text
    return [
        Compilation(output, (int(end) - int(begin)) / 1000)
        for begin, end, output in re.findall(r"^(\d+)\t(\d+)\t\d+\t(\S+)\t", news, re.MULTILINE)
        if output.endswith((".o", ".gch"))
    ]
