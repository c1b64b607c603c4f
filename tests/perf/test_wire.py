"""perf/wire: what the library says that it sent is what the interfaces carried."""

import json

import pytest
from needs import needs_namespaces

from cpdperf import wire

pytestmark = needs_namespaces


def test_interfaces_confirm_the_wire_bytes(tmp_path, capsys):
    out = tmp_path / "wire.json"
    code = wire.main(
        ["--hosts", "3", "--size", "1M", "--wire", "fp32,e4m3,int2", "--out", str(out)]
    )
    assert code == 0, capsys.readouterr()
    found = {(r["wire"], r["algorithm"]): r for r in json.loads(out.read_text())["results"]}
    assert len(found) == 6 and all(r["agrees"] for r in found.values())
    for (name, _), result in found.items():
        bits = {"fp32": 32, "e4m3": 8, "int2": 2 + 32 / 512}[name]
        least = 2 * 2 / 3 * 2**18 * bits / 8
        assert least <= result["payload"] <= 1.03 * least + 2000
        assert result["frames"] > result["payload"] >= result["reported"]


def test_a_report_that_is_wrong_is_noticed(tmp_path, capsys):
    # A program that claims to have sent half of what it has.
    liar = tmp_path / "liar"
    real = wire.build_parser().get_default("program")
    liar.write_text(
        "#!/bin/sh\n"
        f'{real} "$@" || exit\n'
        'for last; do :; done; [ -s "$last" ] && '
        'sed -i -E \'s/"wire_bytes": [0-9.]+/"wire_bytes": 150000.0/\' "$last"\n'
        "true\n"
    )
    liar.chmod(0o755)
    options = ["--hosts", "2", "--size", "1M", "--wire", "e4m3", "--algorithm", "ring"]
    assert wire.main([*options, "--program", str(liar)]) == 1
    assert "DISAGREES" in capsys.readouterr().out


def test_mistakes(tmp_path, capsys):
    taken = tmp_path / "taken.json"
    taken.write_text("{}")
    with pytest.raises(SystemExit) as refused:
        wire.main(["--out", str(taken)])
    assert refused.value.code == 2 and taken.read_text() == "{}"
    assert wire.main(["--rate", "fast"]) == 2
    assert "fast" in capsys.readouterr().err
    assert wire.main(["--hosts", "2", "--wire", "e9m9"]) == 2
