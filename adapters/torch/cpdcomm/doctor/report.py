"""What the doctor found, as text."""

from __future__ import annotations

from typing import Any

from .transports import NAMES

_WIDTH = 12


def text(findings: dict[str, Any]) -> str:
    """The whole report; `findings` as examine() returns them."""
    return "\n".join(
        [
            f"cpdcomm {findings['version'] or '(not loaded)'} in {findings['folder']}",
            *_machine(findings["machine"]),
            _row("memory", _sharing(findings["machine"]["shares_memory"])),
            *(_way(name, way) for name, way in findings["transports"].items()),
            "",
            *_problems(findings["problems"]),
            _verdict(findings),
        ]
    )


def _machine(machine: dict[str, Any]) -> list[str]:
    return [
        _row("Python", machine["python"]),
        _row("torch", machine["torch"]),
        _row("CUDA", _cuda(machine["cuda"])),
        _row(
            "CPU", f"{machine['cores']} cores, {machine['simd'] or 'vector instructions unknown'}"
        ),
        _row("/dev/shm", _shared_memory(machine["shared_memory"])),
        _row("launcher", _variables(machine["launcher"])),
        _row("CPDCOMM_*", _variables(machine["variables"])),
    ]


def _row(name: str, value: str) -> str:
    return f"  {name:<{_WIDTH}} {value}"


def _cuda(cuda: dict[str, Any] | None) -> str:
    if cuda is None:
        return "none that torch can use"
    return f"{cuda['version']}, {', '.join(cuda['devices'])}"


def _shared_memory(shared: dict[str, int] | None) -> str:
    if shared is None:
        return "none"
    return f"{shared['bytes'] / 2**20:.0f} MiB, {shared['free_bytes'] / 2**20:.0f} MiB free"


def _sharing(shares: bool | None) -> str:
    if shares is None:
        return "not tried"
    return "shared by two processes" if shares else "not shared between processes"


def _variables(variables: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in variables.items()) or "none set"


def _way(name: str, way: dict[str, Any]) -> str:
    library = way["library"] or "cannot be loaded"
    if way["module"] is None:
        library = "not in this package"
    launcher = f", {way['launcher']}" if way["launcher"] else ""
    return _row(NAMES[name], f"{library}{launcher}: {_outcome(way)}")


def _outcome(way: dict[str, Any]) -> str:
    if not way["tried"]:
        return "not tried"
    if not way["works"]:
        return "does not work"
    check = way["check"]
    return (
        f"works; two processes got the same bits, {check['wire_bytes']:,} bytes sent "
        f"for {check['logical_bytes']:,}, {check['seconds'] * 1e3:.1f} ms"
    )


def _problems(problems: list[dict[str, str]]) -> list[str]:
    lines = []
    for number, problem in enumerate(problems, 1):
        lines += [f"{number}. {problem['what']}", f"   What to do: {problem['do']}.", ""]
    return lines


def _verdict(findings: dict[str, Any]) -> str:
    working = [NAMES[name] for name, way in findings["transports"].items() if way["works"]]
    if not working:
        return "Ranks cannot talk to each other here: no transport works."
    over = " and ".join(working)
    if not findings["healthy"]:
        return (
            f"Ranks can talk over {over}, but no group starts before the variables are corrected."
        )
    return f"cpdcomm works here over {over}."
