"""One HTML page with all pictures and numbers inside it: no other file, no network, no script."""

from __future__ import annotations

import base64
import json
import shlex
from html import escape
from typing import Any

from cpdperf.plot.contenders import Group, groups_of, variant_of, varying_choices, wire_text
from cpdperf.plot.pictures import Picture
from cpdperf.plot.units import error_text, gain_text, size_text, time_text
from cpdperf.results import Results, Row, optimal_bytes

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #111; background: #fff; margin: 0 auto;
       max-width: 1000px; padding: 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
figure { margin: 0; } figcaption { color: #333; max-width: 46rem; }
.wide { overflow-x: auto; }
.wide img { display: block; width: 100%; min-width: 640px; height: auto; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.15rem 0.6rem; text-align: right; border-bottom: 1px solid #ddd;
         white-space: nowrap; }
th { background: #f3f3f3; } td.name, th.name { text-align: left; }
td.text { text-align: left; white-space: normal; overflow-wrap: anywhere; }
summary { cursor: pointer; padding: 0.3rem 0; }
code { font-size: 0.85rem; overflow-wrap: anywhere; }
"""

HEADS = ("size", "library", "format", "summed", "time", "from", "to", "busbw GB/s", "sent", "bound",
         "gain", "from", "to", "rel. RMS error", "largest error")  # fmt: skip
NAMES = {"library", "format", "summed"}


def page(
    title: str, results: Results, others: list[Results], pictures: dict[Picture, bytes]
) -> str:
    """The whole page. The pictures come as PNG; the others are files that some are drawn from."""
    parts = [
        f"<h1>{escape(title)}</h1>",
        _introduction(results),
        *(_section(picture, png) for picture, png in pictures.items()),
        "<h2>How it was measured</h2>",
        *(_origin(source) for source in (results, *others)),
        "<h2>All numbers</h2>",
        "<p>Times are medians; from and to are the ends of their interval. busbw is size / time, "
        "times 2 (ranks - 1) / ranks. Sent: by each rank in one call. Bound: the time of these "
        "bytes at the link's rate.</p>",
        *(_table(group, varying_choices(results.rows)) for group in groups_of(results.rows)),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _introduction(results: Results) -> str:
    date = escape(str(results.document.get("date", "unknown date")))
    cpu = escape(str((results.document.get("machine") or {}).get("cpu_model", "unknown")))
    wrong = (
        f" <strong>{results.wrong_rows} rows with a wrong sum are not drawn.</strong>"
        if results.wrong_rows
        else ""
    )
    return (
        f"<p>Measured {date} on {cpu}. A gain is always that over the fastest FP32 all-reduce of "
        f"the same network, ranks and size, whichever library it came from.{wrong}</p>"
    )


def _section(picture: Picture, png: bytes) -> str:
    source = "data:image/png;base64," + base64.b64encode(png).decode()
    return (
        f"<h2>{escape(picture.title)}</h2>\n<figure>\n"
        f'<div class="wide"><img alt="{escape(picture.alt)}" src="{source}"></div>\n'
        f"<figcaption>{escape(picture.caption)}</figcaption>\n</figure>"
    )


def _origin(results: Results) -> str:
    """Machine, versions, command and settings, as the file has them."""
    document = results.document
    rows = [("file", results.path.name), ("date", document.get("date"))]
    rows.append(("command", shlex.join(map(str, document.get("command", [])))))
    for name in ("machine", "versions", "settings", "mpi", "transport", "options"):
        if document.get(name):
            rows += _flat(name, document[name])
    for entry in document.get("left_out", []):
        what = entry.get("what", entry.get("contender", ""))
        rows.append((f"left out: {what}", entry.get("reason", "")))
    body = "\n".join(
        f'<tr><td class="name">{escape(name)}</td><td class="text">{escape(str(value))}</td></tr>'
        for name, value in rows
    )
    return f'<div class="wide"><table>\n{body}\n</table></div>'


def _flat(name: str, value: Any) -> list[tuple[str, str]]:
    if not isinstance(value, dict):
        return [(name, value)]
    return [
        (f"{name}: {key}", part if isinstance(part, str) else json.dumps(part))
        for key, part in value.items()
    ]


def _table(group: Group, choices: list[str]) -> str:
    rows = sorted(group.rows, key=lambda row: (row.size, row.time_us))
    heads = "".join(_cell("th", head, head) for head in HEADS)
    body = "\n".join(
        "<tr>"
        + "".join(
            _cell("td", head, text) for head, text in zip(HEADS, _texts(row, choices), strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f"<details><summary>{escape(group.title)}: {len(rows)} rows, the fastest of each size "
        f'first</summary>\n<div class="wide"><table>\n<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div></details>"
    )


def _cell(tag: str, head: str, text: str) -> str:
    kind = ' class="name"' if head in NAMES else ""
    return f"<{tag}{kind}>{escape(text)}</{tag}>"


def _texts(row: Row, choices: list[str]) -> list[str]:
    busbw = optimal_bytes(row.ranks, row.size, 8) / row.time_us / 1000
    return [
        size_text(row.size),
        row.library,
        wire_text(row.wire),
        variant_of(row, choices),
        time_text(row.time_us),
        time_text(row.time_us_low),
        time_text(row.time_us_high),
        f"{busbw:.3g}",
        _known(row.wire_bytes, size_text),
        _known(row.bound_us, time_text),
        _known(row.gain, gain_text),
        _known(row.gain_low, gain_text),
        _known(row.gain_high, gain_text),
        _known(row.rel_rms, error_text),
        _known(row.max_error, lambda error: f"{error:.2g}"),
    ]


def _known(value: float | None, text: Any) -> str:
    return "-" if value is None else text(value)
