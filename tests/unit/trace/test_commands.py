"""`tcstatic trace` and `tcstatic check`: what they print, and with which code they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tcstatic import cli
from tcstatic.model import Dropped, Location, ProbeCounts
from tcstatic.trace import Recorder
from tests.unit.trace.making import record, recording, training


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A trace of two ranks."""
    for rank in (0, 1):
        record(tmp_path / "t", training(30, rank), rank=rank)
    return str(tmp_path / "t")


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What a command prints on stdout; where it fails, on stderr."""
    assert cli.main(words) == code
    seen = capsys.readouterr()
    assert bool(seen.err) == bool(code), seen.err
    return seen.err if code else seen.out


def exported(capsys: pytest.CaptureFixture[str], *words: str) -> list[Any]:
    return [json.loads(line) for line in said(capsys, "trace", "export", *words).splitlines()]


def test_info(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "trace", "info", folder)
    assert "schema: tcstatic-trace/1" in text
    assert "rank 1 of 1: 120 events, 30 optimizer steps, 0 sites" in text
    assert text.count("  loss.backward") == 2
    found = json.loads(said(capsys, "trace", "info", folder, "--output-format", "json"))
    assert [run["rank"] for run in found["runs"]] == [0, 1]
    assert found["runs"][0]["kinds"]["optimizer.step"] == 30
    assert found["runs"][0]["last_step"] == 29
    assert found["runs"][0]["bytes_per_event"] > 0


def test_info_of_a_trace_without_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "t", [])
    assert "0 events, 0 optimizer steps" in said(capsys, "trace", "info", str(tmp_path / "t"))
    assert said(capsys, "trace", "export", str(tmp_path / "t")) == ""


def test_show(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    head, *rows = said(capsys, "trace", "show", folder, "--limit", "3").splitlines()
    assert head.split() == ["rank", "step", "epoch", "event", "where", "objects", "values"]
    assert [row.split()[3] for row in rows] == [
        "optimizer.zero_grad",
        "model.forward",
        "loss.backward",
    ]
    assert "train.py:10" in rows[0]
    assert cli.main(["trace", "show", folder]) == 0
    seen = capsys.readouterr()
    assert len(seen.out.splitlines()) == 41
    assert seen.err == "tcstatic: the first 40 events; --limit N shows more\n"


def test_filters(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(exported(capsys, folder)) == 240
    kinds = exported(capsys, folder, "--kind", "optimizer.step", "--kind", "loss.backward")
    assert {event["kind"] for event in kinds} == {"optimizer.step", "loss.backward"}
    for text, steps in [("7", {7}), ("27:", {27, 28, 29}), (":1", {0, 1}), ("3:4", {3, 4})]:
        assert {e["step"] for e in exported(capsys, folder, "--step", text)} == steps
    assert {event["rank"] for event in exported(capsys, folder, "--rank", "1")} == {1}
    assert len(exported(capsys, folder, "--limit", "5")) == 5
    assert "expected one of call" in said(
        capsys, "trace", "show", folder, "--kind", "optimizer", code=2
    )
    assert "expected a step" in said(capsys, "trace", "show", folder, "--step", "a:b", code=2)
    assert "expected a step" in said(capsys, "trace", "show", folder, "--step", "4:3", code=2)
    assert "got 9; expected one of 0 1" in said(
        capsys, "trace", "show", folder, "--rank", "9", code=2
    )


def test_export(folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (event,) = exported(capsys, folder, "--kind", "optimizer.step", "--limit", "1")
    assert event["where"]["line"] == 13
    assert event["values"]["live"] == [1, 2, 3, 4, 5, 6]
    assert event["context"]["stage"] == "train"
    assert event["members"][0]["name"] == "layers.1.weight"
    assert said(capsys, "trace", "export", folder, "-o", str(tmp_path / "out.jsonl")) == ""
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 240
    problem = said(capsys, "trace", "export", folder, "-o", str(tmp_path), code=2)
    assert "cannot be written" in problem


@pytest.mark.parametrize("words", [("check",), ("trace", "info"), ("trace", "show")])
def test_what_is_no_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    text = said(capsys, *words, str(tmp_path), code=2)
    assert text.count("\n") == 1
    assert "no trace in this folder" in text


def test_check_of_a_clean_trace(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    text = said(capsys, "check", folder, "--select", "TCS11", "--report", str(report))
    assert "tcstatic: check" in text
    assert "no finding" in text
    found = json.loads(report.read_text())
    assert (found["command"], found["ranks"], found["exit_status"]) == ("check", [0, 1], 0)
    shown = said(capsys, "check", folder, "--select", "TCS11", "--output-format", "json")
    assert json.loads(shown) == found


def test_rules_that_need_what_was_dropped_are_out_of_scope(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = Recorder(recording(tmp_path / "t"))
    sink._dropped["optimizer.zero_grad"] = Dropped("optimizer.zero_grad", 0, 0)
    for event in training(30):
        sink.take(event)
    sink.end(0, 0, ProbeCounts())
    text = said(capsys, "check", str(tmp_path / "t"), "--output-format", "json")
    found = json.loads(text)
    assert found["findings"] == []
    out = found["invariants"]["out_of_scope"]
    assert out["TCS112"] == "not all events were recorded of: optimizer.zero_grad"
    assert found["incomplete"] == [
        "rank 0: 30 events were not recorded, all optimizer.zero_grad from event 0 on"
    ]
    assert "dropped: 30 optimizer.zero_grad" in said(capsys, "trace", "info", str(tmp_path / "t"))


def test_what_is_told_of_a_recording_moves_no_cursor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = Recorder(recording(tmp_path / "t", "tcstatic run 'a\x1b]0;b\x07\n'"))
    for event in training(30):
        where = Location("a\x1b[2J.py", 3)
        sink.take(
            event._replace(where=where, values={**event.values, "said": "\x1b[31m\r\n\u2028"})
        )
    sink.end(0, 0, ProbeCounts())
    odd = tmp_path / "odd.yaml"
    odd.write_text(
        "code: ABC101\nname: odd\nrelation: order\nseverity: error\ncure: c\n"
        "that: {absence: loss.backward, between: [optimizer.zero_grad, optimizer.step]}\n"
        'message: "m"\nwhy: "\\e[31mred"\n'
    )
    for words in (("trace", "info"), ("trace", "show"), ("check", "--rules", str(odd))):
        code = int(words[0] == "check")
        assert cli.main([*words, str(tmp_path / "t")]) == code
        lines = capsys.readouterr().out.split("\n")
        assert [line for line in lines if not line.isprintable()] == []
        assert code == 0 or any(r"a\x1b[2J.py:3" in line for line in lines)
