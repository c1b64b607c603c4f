"""perf/plot: what is read, what the pictures hold, what is written, and what wrong input gives."""

from __future__ import annotations

import base64
import copy
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import matplotlib.colors
import numpy as np
import plot_data
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

from cpdperf.plot import pictures, units
from cpdperf.plot.accuracy import accuracy_figure, best_rows, family_of, measured_rows
from cpdperf.plot.command_line import main
from cpdperf.plot.contenders import groups_of, network_text, variant_of, wires_of
from cpdperf.plot.curves import BOUND_LABEL, time_figure
from cpdperf.plot.gains import OTHERS, gain_figure, overview_figure
from cpdperf.plot.growth import growth_figure, read_growth
from cpdperf.plot.never_slower import never_slower_figure
from cpdperf.plot.palette import png
from cpdperf.plot.style import Styles, new_figure
from cpdperf.plot.targets import targets_figure
from cpdperf.plot.winners import cell_lines, winner, winner_figure
from cpdperf.results import Results, ResultsError, Row, bits_per_value, read_allreduce, read_sweep
from cpdperf.sweep.never_slower import cells
from cpdperf.sweep.targets import UNKNOWN, findings

ROOT = Path(__file__).parents[2]
SMALL = {"e4m3": 8, "e3m0": 4}


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    return {
        "sweep": plot_data.sweep(),
        "small": plot_data.sweep(("host",), formats=SMALL),
        "run": plot_data.run(),
        "accuracy": plot_data.accuracy(),
        "targets": plot_data.targets(),
        "never-slower": plot_data.never_slower(ranks=(2, 4)),
    }


@pytest.fixture
def folder(tmp_path: Path, documents: dict[str, Any]) -> Path:
    """Holds each document as a file."""
    for name, document in documents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    return tmp_path


@pytest.fixture(scope="module")
def sweep(documents: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Results:
    path = tmp_path_factory.mktemp("sweep") / "sweep.json"
    path.write_text(json.dumps(documents["sweep"]))
    return read_sweep(path)


@pytest.fixture(scope="module")
def styles(sweep: Results) -> Styles:
    return Styles(sweep.rows)


def group(sweep: Results, name: str) -> Any:
    return next(group for group in groups_of(sweep.rows) if group.name == name)


def write(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


def labels(axes: Axes) -> list[str]:
    return [line.get_label() for line in axes.get_lines() if not line.get_label().startswith("_")]


def line(axes: Axes, label: str) -> np.ndarray:
    return next(found for found in axes.get_lines() if found.get_label() == label).get_xydata()


def panel(figure: Figure, title: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_title() == title)


# What is read


def test_the_synthetic_runs_are_what_the_schema_says(documents: dict[str, Any]) -> None:
    schema = json.loads((ROOT / "perf/schema/allreduce.schema.json").read_text())
    for name in ("run", "accuracy"):
        jsonschema.validate(documents[name], schema)


def test_a_sweep_gives_its_rows(sweep: Results, documents: dict[str, Any]) -> None:
    entry, row = documents["sweep"]["rows"][7], sweep.rows[7]
    assert len(sweep.rows) == len(documents["sweep"]["rows"])
    assert {name: getattr(row, name) for name in Row.__dataclass_fields__} == {
        name: entry[name] for name in Row.__dataclass_fields__
    }


def test_a_run_knows_its_interval_and_with_a_rate_its_bound(folder: Path) -> None:
    document = json.loads((folder / "run.json").read_text())
    entry = document["results"][0]
    entry |= {"times_us": [1.0, 2.0, 3.0, 4.0, 5.0], "time_us": 3.0, "gain": 2.0}
    row = read_allreduce(write(folder / "run.json", document), rate_mbit=1000).rows[0]
    assert (row.time_us_low, row.time_us, row.time_us_high) == (2.0, 3.0, 4.0)
    assert (row.gain_low, row.gain, row.gain_high) == (1.5, 2.0, 3.0)
    assert row.bound_us == pytest.approx(entry["wire_bytes"] * 8 / 1000)
    assert read_allreduce(folder / "run.json").rows[0].bound_us is None


def test_the_bound_of_a_library_that_does_not_say_is_the_optimal_sum(folder: Path) -> None:
    rows = read_allreduce(folder / "run.json", rate_mbit=1000).rows
    row = next(row for row in rows if row.library == "mpi" and row.size == 1 << 20)
    assert row.wire_bytes is None
    assert row.bound_us == pytest.approx(2 * 3 / 4 * (1 << 20) * 8 / 1000)


def test_rows_with_a_wrong_sum_are_counted_and_not_drawn(folder: Path) -> None:
    document = json.loads((folder / "sweep.json").read_text())
    document["rows"][0]["wrong"] = 3
    results = read_sweep(write(folder / "sweep.json", document))
    assert (results.wrong_rows, len(results.rows)) == (1, len(document["rows"]) - 1)


@pytest.mark.parametrize(("field", "value"), [("wrong", 1), ("size", 0)])
def test_a_file_without_anything_to_draw(folder: Path, field: str, value: int) -> None:
    document = plot_data.run(["e4m3"], [4096])
    document["results"] = [entry | {field: value} for entry in document["results"]]
    with pytest.raises(ResultsError, match="none of its 5 results is right and of a size above 0"):
        read_allreduce(write(folder / "bad.json", document))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "other/1"}, '"schema" is \'other/1\'; expected "cpdperf-sweep/1"'),
        ({"rows": []}, r'"rows" is \[\]; expected a list of results'),
        ({"rows": [3]}, r"rows\[0\] is 3; expected an object"),
    ],
)
def test_a_document_that_is_not_a_sweep(folder: Path, change: dict, message: str) -> None:
    path = write(folder / "bad.json", plot_data.sweep(("host",)) | change)
    with pytest.raises(ResultsError, match=f"bad.json: {message}"):
        read_sweep(path)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("time_us", 0, "0; expected a number > 0"),
        ("time_us", None, "null; expected a number > 0"),
        ("size", 1.5, "1.5; expected a whole number >= 0"),
        ("wire", "", '""; expected a name'),
        ("gain", -1, "-1; expected a number > 0 or null"),
        ("rel_rms", "little", '"little"; expected a number >= 0 or null'),
        ("wrong", True, "true; expected a whole number >= 0 or null"),
    ],
)
def test_a_field_that_is_wrong(folder: Path, field: str, value: Any, expected: str) -> None:
    document = plot_data.sweep(("host",))
    document["rows"][2][field] = value
    with pytest.raises(ResultsError, match=re.escape(f"rows[2].{field} is {expected}")):
        read_sweep(write(folder / "bad.json", document))


def test_a_field_that_is_missing(folder: Path) -> None:
    document = plot_data.run()
    del document["results"][1]["wire"]
    with pytest.raises(ResultsError, match=r"results\[1\].wire is missing; expected a name"):
        read_allreduce(write(folder / "bad.json", document))


def test_a_file_that_is_no_json(folder: Path) -> None:
    (folder / "bad.json").write_text("size,time\n")
    with pytest.raises(ResultsError, match="bad.json: is not JSON .*; expected the sweep.json"):
        read_sweep(folder / "bad.json")


# What is drawn


def test_time_has_a_panel_for_each_format_with_its_bound(sweep: Results, styles: Styles) -> None:
    figure = time_figure(group(sweep, "1gbit-4-ranks"), styles)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:2] == ["FP32", "BF16"] and sorted(titles[2:]) == sorted(plot_data.FORMATS)
    assert labels(panel(figure, "e4m3")) == ["best FP32", BOUND_LABEL, "ring", "direct"]
    assert labels(panel(figure, "BF16")) == ["best FP32", BOUND_LABEL, "gloo"]
    assert {"Open MPI", "Open MPI ring", "gloo"} <= set(labels(panel(figure, "FP32")))
    bound = line(panel(figure, "e4m3"), BOUND_LABEL)
    size = bound[-1, 0]
    assert bound[-1, 1] == pytest.approx(2 * 3 / 4 * size / 4 * 8 / 1000, rel=1e-3)


def test_without_a_rate_there_is_no_bound(sweep: Results, styles: Styles) -> None:
    figure = time_figure(group(sweep, "host-4-ranks"), styles)
    assert all(BOUND_LABEL not in labels(axes) for axes in figure.axes)


def test_the_best_fp32_is_the_fastest_of_all_libraries(sweep: Results, styles: Styles) -> None:
    one = group(sweep, "10gbit-4-ranks")
    for size, time in line(panel(time_figure(one, styles), "e4m3"), "best FP32"):
        same = [row.time_us for row in one.rows if row.size == size and row.wire == "fp32"]
        assert time == min(same)


def test_gain_has_a_line_at_one_and_the_others_behind(sweep: Results, styles: Styles) -> None:
    one = group(sweep, "1gbit-4-ranks")
    figure = gain_figure(one, styles)
    axes = panel(figure, "e3m0")
    assert labels(axes).count(OTHERS) == len(plot_data.FORMATS)  # BF16 is there, too
    assert any(np.array_equal(found.get_ydata(), [1, 1]) for found in axes.get_lines())
    assert any("no gain" in text.get_text() for text in axes.texts)
    gains = {
        row.size: row.gain for row in one.rows if (row.wire, row.algorithm) == ("e3m0", "ring")
    }
    assert dict(line(axes, "ring")) == gains


def test_the_overview_takes_the_fastest_way_to_sum(sweep: Results, styles: Styles) -> None:
    groups = [one for one in groups_of(sweep.rows) if one.ranks == 4]
    names = [network_text(one.network, one.rate_mbit) for one in groups]
    figure = overview_figure(groups, names, "title", styles)
    assert [axes.get_title() for axes in figure.axes] == names
    assert names == ["100 Mbit/s", "1 Gbit/s", "10 Gbit/s", "one host"]
    best = max(r.gain or 0 for r in groups[1].rows if r.wire == "e4m3" and r.size == 1024)
    assert line(panel(figure, "1 Gbit/s"), "e4m3")[0, 1] == best


def test_each_cell_is_the_winner_of_the_data(sweep: Results, styles: Styles) -> None:
    groups = [one for one in groups_of(sweep.rows) if one.ranks == 4]
    figure = winner_figure(groups, ["a", "b", "c", "d"], "title", styles)
    cells = [p for p in figure.axes[0].patches if isinstance(p, Rectangle) and p.get_gid()]
    assert len(cells) == len({(row.network, row.size) for one in groups for row in one.rows})
    won = set()
    for cell in cells:
        wire, network, ranks, size = cell.get_gid().split()
        same = [r for r in sweep.rows if (r.network, r.ranks) == (network, int(ranks))]
        fastest = min((r for r in same if r.size == int(size)), key=lambda row: row.time_us)
        assert wire == fastest.wire
        assert bool(cell.get_hatch()) == (wire == "fp32")
        won.add(wire)
    assert "fp32" in won and len(won) > 2  # else the data would not tell


def test_a_cell_says_gain_error_and_doubt(sweep: Results, styles: Styles) -> None:
    row = next(row for row in sweep.rows if (row.wire, row.algorithm) == ("e3m0", "ring"))
    values = {name: getattr(row, name) for name in Row.__dataclass_fields__}
    sure = Row(**values | {"gain": 3.94, "gain_low": 3.8, "rel_rms": 0.21})
    unsure = Row(**values | {"gain": 1.04, "gain_low": 0.98, "rel_rms": None})
    assert cell_lines(sure, styles.choices) == ["e3m0", "ring", "3.9x", "err 21 %"]
    assert cell_lines(unsure, styles.choices) == ["e3m0", "ring", "1.04x ?"]


def test_a_limit_of_the_error_keeps_coarse_and_unknown_formats_out(sweep: Results) -> None:
    rows = [r for r in group(sweep, "1gbit-4-ranks").rows if r.size == 64 << 20]
    assert winner(rows).rel_rms > 0.1
    limited = winner(rows, 0.1)
    assert limited.time_us == min(r.time_us for r in rows if (r.rel_rms or 1) <= 0.1)
    assert winner([r for r in rows if r.wire == "e3m0"], 0.1) is None


def test_accuracy_labels_all_formats_apart(folder: Path) -> None:
    rows = measured_rows(read_allreduce(folder / "accuracy.json"))
    figure = accuracy_figure([row for row in rows if row.algorithm == "ring"])
    texts = figure.axes[0].texts
    assert {text.get_text().lower() for text in texts} == set(plot_data.MANY)
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in texts]  # without the leaders
    overlaps = [a for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    assert not overlaps


def test_accuracy_is_in_bits_per_value_and_finds_the_best(folder: Path) -> None:
    rows = measured_rows(read_allreduce(folder / "accuracy.json"))
    assert {row.size for row in rows} == {4 << 20}
    for row in rows:
        assert bits_per_value(row) == pytest.approx(plot_data.bits_of(row.wire), rel=1e-3)
    best = best_rows(rows)
    assert best[0].wire == "sign" and best[-1].wire == "fp32"
    for row in rows:
        rivals = [b for b in best if bits_per_value(b) <= bits_per_value(row) + 1e-9]
        assert min(rival.rel_rms for rival in rivals) <= row.rel_rms


def test_families_of_formats() -> None:
    names = "e4m3 e2m1fn bf16 fp32 bfp8 mxfp4 mxint8 int4 sign".split()
    beginnings = [family_of(name).split()[0] for name in names]
    assert (
        beginnings
        == "small small plain plain block microscaling microscaling integers sign".split()
    )


def test_accuracy_without_checked_sums_says_so(folder: Path) -> None:
    document = plot_data.run()
    for entry in document["results"]:
        entry["rel_rms"] = None
    with pytest.raises(ResultsError, match="unchecked.json: .* --check of at least 1"):
        measured_rows(read_allreduce(write(folder / "unchecked.json", document)))


# Names and looks


def test_ways_to_sum_are_named_by_what_differs(documents: dict[str, Any], folder: Path) -> None:
    document = copy.deepcopy(documents["small"])
    more = [dict(r, accumulate="kahan") for r in document["rows"] if r["wire"] == "e3m0"]
    document["rows"] += more
    rows = read_sweep(write(folder / "more.json", document)).rows
    styles = Styles(rows)
    assert styles.choices == ["algorithm", "accumulate"]
    assert variant_of(rows[-3], styles.choices) in ("ring kahan", "direct kahan", "gloo")
    assert set(styles.variants) == {"ring wide", "direct wide", "ring kahan", "direct kahan"}


def test_formats_of_one_sweep_look_different(sweep: Results, styles: Styles) -> None:
    wires = wires_of(sweep.rows)
    assert wires[0] == "fp32" and wires[1] == "bf16"
    assert len({styles.colour(wire) for wire in wires}) == len(wires)
    assert len({styles.marker(wire) for wire in wires}) == len(wires)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (units.size_text(1023), "1023 B"),
        (units.size_text(64 << 20), "64 MiB"),
        (units.time_text(12.34), "12.3 µs"),
        (units.time_text(1234), "1.23 ms"),
        (units.time_text(2.5e6), "2.5 s"),
        (units.rate_text(25000), "25 Gbit/s"),
        (units.gain_text(0.873), "0.87"),
        (units.gain_text(7.25), "7.2"),
        (units.gain_text(23.4), "23"),
        (units.error_text(0), "0"),
        (units.error_text(0.0312), "3.1 %"),
        (units.error_text(4e-8), "4e-08"),
    ],
)
def test_units(text: str, expected: str) -> None:
    assert text == expected


def test_the_palette_keeps_the_colours_of_lines() -> None:
    figure = new_figure(3, "title")
    axes = figure.subplots()
    axes.imshow(np.random.default_rng(1).random((60, 60)), cmap="gray", aspect="auto")
    axes.plot([0, 50], [0, 50], color="#D55E00", linewidth=4)
    axes.plot(5, 50, "X", color="#CC79A7", markersize=4)
    pixels = np.asarray(Image.open(io.BytesIO(png(figure, 100))).convert("RGB"))
    for colour, least in (("#D55E00", 500), ("#ffffff", 500), ("#000000", 500), ("#CC79A7", 3)):
        wanted = np.round(np.array(matplotlib.colors.to_rgb(colour)) * 255)
        assert (pixels == wanted).all(axis=2).sum() >= least, colour


# Files


class Page(HTMLParser):
    """Collects the tags with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_a_sweep_becomes_pictures_and_a_page(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["sweep", str(folder / "small.json")]) == 0
    written = {path.name for path in (folder / "pictures").iterdir()}
    assert written == {
        "accuracy.png", "gain-host-4-ranks.png", "gains-4-ranks.png", "index.html",
        "time-host-4-ranks.png", "winners-4-ranks-small-error.png", "winners-4-ranks.png",
    }  # fmt: skip
    assert set(map(Path, capsys.readouterr().out.split())) == set((folder / "pictures").iterdir())
    _check_page((folder / "pictures/index.html").read_text(), folder / "pictures")


def _check_page(text: str, folder: Path) -> None:
    page = Page(text)
    images = [attributes for tag, attributes in page.found if tag == "img"]
    embedded = {base64.b64decode(image["src"].partition(";base64,")[2]) for image in images}
    assert embedded == {path.read_bytes() for path in folder.glob("*.png")}
    assert all(len(image["alt"]) > 40 for image in images)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.found}
    assert "http://" not in text and "https://" not in text
    assert not [a for _, a in page.found if "href" in a or not a.get("src", "data:")[:5] == "data:"]
    for expected in ("a model, not a machine", "2026-11-21", "perf/sweep", "was never run"):
        assert expected in text
    rows = len(plot_data.sweep(("host",), formats=SMALL)["rows"])
    assert text.count("<tr>") >= rows and 'name="viewport"' in text


def test_the_page_escapes_what_a_file_says(folder: Path) -> None:
    document = plot_data.sweep(("host",), formats={"e4m3": 8})
    document["command"] = ["perf/sweep", "<script>alert(1)</script>"]
    write(folder / "sly.json", document)
    assert main(["sweep", str(folder / "sly.json"), "--out", str(folder / "sly")]) == 0
    text = (folder / "sly/index.html").read_text()
    assert "<script" not in text and "&lt;script&gt;" in text


def test_a_sweep_of_networks_and_ranks_is_drawn_both_ways(sweep: Results) -> None:
    names = [picture.name for picture in pictures.sweep_pictures(sweep, None, 0.1)]
    assert names[:4] == [
        "winners-4-ranks", "winners-4-ranks-small-error",
        "winners-1gbit", "winners-1gbit-small-error",
    ]  # fmt: skip
    assert len(names) == len(set(names)) == 4 + 2 + 1 + 2 * 7


def test_a_run_becomes_two_pictures(folder: Path) -> None:
    assert main(["run", str(folder / "run.json"), "--rate", "1gbit"]) == 0
    assert {path.name for path in folder.glob("*.png")} == {"run-time.png", "run-gain.png"}
    with Image.open(folder / "run-time.png") as image:
        assert image.width == 1350


def test_the_map_shows_what_is_broken(documents: dict[str, Any]) -> None:
    found = cells(documents["never-slower"])
    figure = never_slower_figure(found)
    drawn = {
        patch.get_gid(): patch
        for axes in figure.axes
        for patch in axes.patches
        if isinstance(patch, Rectangle) and patch.get_gid()
    }
    assert len(drawn) == len(found) == 3 * 2 * 10 * 2
    framed = {
        name for name, patch in drawn.items() if patch.get_edgecolor() == (0.0, 0.0, 0.0, 1.0)
    }
    assert framed == {f"host 2 {4 << 20} fp32"}
    red, _, blue, _ = drawn[f"host 2 {4 << 20} fp32"].get_facecolor()
    assert red > blue  # slower
    red, _, blue, _ = drawn[f"host 4 {64 << 20} e4m3"].get_facecolor()
    assert blue > red
    texts = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert "1.30\nring" in texts and any(text.endswith("MPI*") for text in texts)
    assert panel(figure, "10 Gbit/s, e4m3 asked for").get_xticklabels()[0].get_text() == "1 KiB"


def test_targets_are_drawn_where_they_were_found(documents: dict[str, Any]) -> None:
    found = [one for one in findings(documents["targets"]) if one.verdict != UNKNOWN]
    axes = targets_figure(found).axes[0]
    points = {
        (round(float(line.get_ydata()[0])), line.get_label()): float(line.get_xdata()[0])
        for line in axes.get_lines()
        if not line.get_label().startswith("_")
    }
    assert len(points) == len(found) == 3 + 3 + 2 + 2 + 3
    assert points[0, "met"] == pytest.approx(3.95 / 3.85)
    assert points[1, "missed"] == pytest.approx(6.9 / 7.4)
    assert points[2, "open: the interval holds the target"] == pytest.approx(1.0)
    assert axes.get_yticklabels()[0].get_text() == "1 Gbit/s, 4 ranks, 64 MiB: e4m3 aps:N"


@pytest.mark.parametrize("name", ["targets", "never-slower"])
def test_plans_have_pictures(folder: Path, name: str, capsys: pytest.CaptureFixture) -> None:
    assert main([name, str(folder / f"{name}.json")]) == 0
    assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert main([name, str(folder / f"{name}.json")]) == 2
    assert "would overwrite" in capsys.readouterr().err
    assert main([name, str(folder / "small.json")]) == 2
    assert "small.json: has no row" in capsys.readouterr().err


def test_a_run_without_fp32_has_no_gain(folder: Path, capsys: pytest.CaptureFixture) -> None:
    document = plot_data.run()
    document["results"] = [e | {"gain": None} for e in document["results"] if e["wire"] != "fp32"]
    write(folder / "alone.json", document)
    assert main(["run", str(folder / "alone.json")]) == 0
    assert not (folder / "alone-gain.png").exists() and (folder / "alone-time.png").exists()
    assert "add --baseline mpi" in capsys.readouterr().out


def test_nothing_is_overwritten(folder: Path, capsys: pytest.CaptureFixture) -> None:
    (folder / "run-gain.png").write_text("mine")
    assert main(["run", str(folder / "run.json")]) == 2
    assert "would overwrite" in capsys.readouterr().err
    assert (folder / "run-gain.png").read_text() == "mine"
    assert not (folder / "run-time.png").exists()
    assert main(["run", str(folder / "run.json"), "--force"]) == 0
    assert (folder / "run-gain.png").read_bytes().startswith(b"\x89PNG")


def test_accuracy_has_a_command_of_its_own(folder: Path) -> None:
    document = plot_data.run(["e4m3", "int4"], [1 << 20])
    write(folder / "few.json", document)
    assert main(["accuracy", str(folder / "few.json")]) == 0
    assert (folder / "few.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("command", ["sweep", "run", "accuracy", "codec", "growth", "targets"])
def test_a_file_that_is_not_there(command: str, capsys: pytest.CaptureFixture) -> None:
    assert main([command, "nowhere.json"]) == 2
    assert "perf/plot: nowhere.json: cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("rate", ["fast", "0gbit", "10", "-1mbit"])
def test_a_rate_that_is_none(rate: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as error:
        main(["run", "run.json", f"--rate={rate}"])
    assert error.value.code == 2
    assert f"'{rate}' is not a rate; allowed is" in capsys.readouterr().err


def test_the_recorded_codec_rates_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    recorded = ROOT / "perf/results/2026-11-21-zen4"
    out = tmp_path / "codec.png"
    command = ["codec", str(recorded / "codec-avx2.json"), "--out", str(out)]
    assert main([*command, "--peers", str(recorded / "peers.json")]) == 0
    assert "| encode | e4m3 |" in capsys.readouterr().out
    assert out.read_bytes().startswith(b"\x89PNG")
    assert main(command) == 2
    assert "would overwrite" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["nowhere/codec.png", "codec.abc"])
def test_a_codec_picture_that_cannot_be(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture
) -> None:
    path = str(ROOT / "perf/results/2026-11-21-zen4/codec-avx2.json")
    assert main(["codec", path, "--out", str(tmp_path / name)]) == 2
    assert f"{name}: cannot be written (" in capsys.readouterr().err


def test_a_codec_run_without_the_buffer_says_what_it_has(capsys: pytest.CaptureFixture) -> None:
    path = str(ROOT / "perf/results/2026-11-21-zen4/codec-avx2.json")
    assert main(["codec", path, "--values", "1Ki"]) == 2
    assert "it has --values 64Ki --threads 1, --values 16Mi --threads 1" in capsys.readouterr().err


RECORDED_GROWTH = ROOT / "perf/results/2026-11-21-zen4-engine/error-growth.json"


def test_growth_draws_every_algorithm_of_every_format() -> None:
    document = read_growth(RECORDED_GROWTH)
    figure = growth_figure(document)
    assert [axes.get_title() for axes in figure.axes] == ["e4m3", "e5m2", "e3m0"]
    for axes in figure.axes:
        rows = [row for row in document["results"] if row["wire"] == axes.get_title()]
        drawn = [tuple(point) for line in axes.get_lines() for point in line.get_xydata()]
        assert sorted(drawn) == sorted((row["ranks"], row["rel_rms"]) for row in rows)
        assert axes.get_xlabel() == "ranks N"
        assert len({(line.get_color(), line.get_marker()) for line in axes.get_lines()}) == 4


def test_growth_is_flat_for_direct_and_steepest_for_the_ring() -> None:
    rows = read_growth(RECORDED_GROWTH)["results"]

    def growth(algorithm: str) -> float:
        found = [row for row in rows if (row["wire"], row["algorithm"]) == ("e4m3", algorithm)]
        errors = {row["ranks"]: row["rel_rms"] for row in found}
        return errors[64] / errors[2]

    assert growth("direct") < 1.02
    assert 1.4 < growth("halving_doubling") <= growth("tree") < 2.2
    assert growth("ring") > 4


def test_growth_has_a_command_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "growth.png"
    assert main(["growth", str(RECORDED_GROWTH), "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    assert main(["growth", str(RECORDED_GROWTH), "--out", str(out)]) == 2
    other = str(ROOT / "perf/results/2026-11-21-zen4/codec.json")
    assert main(["growth", other]) == 2
    assert "written by cpd-error-growth -J" in capsys.readouterr().err
