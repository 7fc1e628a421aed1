"""Reports: the frozen json schema, text, merging of ranks, whole files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tcstatic.errors import InputError
from tcstatic.model import (
    Finding,
    InvariantCounts,
    Location,
    ProbeCounts,
    Report,
    Witness,
)
from tcstatic.report import (
    check_path,
    finding_block,
    from_json,
    full_text,
    merge,
    summary,
    to_json,
    write,
)

FINDING = Finding(
    code="TCS201",
    name="stale-optimizer",
    severity="error",
    message="the optimizer (AdamW, built at train.py:35) holds parameters\n of another model",
    where=Location("train.py", 41, 5, 41, 30, "main"),
    why="What is stepped is not what is used.",
    cure="Build the optimizer after wrapping.",
    step=0,
    rank=0,
    precondition="not (frozen)",
    witness=(
        Witness("train.py", 30, "model.new", None, 0),
        Witness("train.py", 35, "optimizer.new", 0, 0, {"lr": 0.1, "shape": (2, 3)}),
        Witness("train.py", 41, "wrap.new", 0, 0),
    ),
    count=12,
    fingerprint="abc",
)
REPORT = Report(
    command="tcstatic run train.py --lr 1",
    script="train.py",
    exit_status=0,
    invariants=InvariantCounts(
        in_scope=("TCS101", "TCS112", "TCS201"),
        checked={"TCS201": 12, "TCS101": 1200},
        held=("TCS101",),
        violated=("TCS201",),
        never_triggered=("TCS112",),
        out_of_scope={"TCS501": "one rank"},
    ),
    findings=(FINDING,),
    probes=ProbeCounts(
        31, 1234, 0.25, (("grad-norm", "ValueError: x"),), (("old.py", "not UTF-8"),)
    ),
)

KEYS: dict[str, Any] = {
    "": "schema command script exit_status invariants findings probes ranks incomplete skipped",
    "invariants": "in_scope checked held violated never_triggered out_of_scope",
    "findings": "code name severity message file line column end_line function step epoch rank why "
    "cure precondition witness count fingerprint end_column",
    "witness": "file line event step rank values",
    "probes": "installed events sampled disabled",
    "disabled": "probe reason",
    "skipped": "path reason",
}


def test_the_schema_is_frozen() -> None:
    data = json.loads(to_json(REPORT))
    assert data["schema"] == "tcstatic-report/1"
    seen = {
        "": data,
        "invariants": data["invariants"],
        "findings": data["findings"][0],
        "witness": data["findings"][0]["witness"][0],
        "probes": data["probes"],
        "disabled": data["probes"]["disabled"][0],
        "skipped": data["skipped"][0],
    }
    assert {name: " ".join(part) for name, part in seen.items()} == KEYS
    assert data["invariants"]["checked"] == {"TCS101": 1200, "TCS201": 12}
    assert data["invariants"]["out_of_scope"] == {"TCS501": "one rank"}
    assert data["findings"][0]["file"] == "train.py"
    assert data["findings"][0]["witness"][1]["values"] == {"lr": 0.1, "shape": [2, 3]}


def test_json_gives_the_report_back() -> None:
    assert from_json(to_json(REPORT)) == REPORT
    empty = Report("", "x.py", None)
    assert from_json(to_json(empty)) == empty


def test_json_is_strict_whatever_the_values() -> None:
    values = {"a": float("nan"), "b": -float("inf"), "c": {1, 2}, "d": b"x", "e": (True, None)}
    link = replace(FINDING.witness[0], values=values)
    text = to_json(replace(REPORT, findings=(replace(FINDING, witness=(link,)),)))
    assert "NaN" not in text
    read = json.loads(text)["findings"][0]["witness"][0]["values"]
    assert read == {"a": "nan", "b": "-inf", "c": [1, 2], "d": "b'x'", "e": [True, None]}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "x"}', "nul", '{"schema": 1}'])
def test_other_text_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InputError) as caught:
        from_json(text)
    assert "\n" not in str(caught.value)


def test_a_damaged_report_is_refused() -> None:
    data = json.loads(to_json(REPORT))
    del data["findings"][0]["line"]
    with pytest.raises(InputError, match="'line'"):
        from_json(json.dumps(data))


def test_a_block() -> None:
    assert finding_block(FINDING).splitlines() == [
        "tcstatic: error TCS201 stale-optimizer",
        "  train.py:41 in main, step 0, rank 0",
        "  the optimizer (AdamW, built at train.py:35) holds parameters of another model",
        "  why: What is stepped is not what is used.",
        "  cure: Build the optimizer after wrapping.",
        "  because: model.new train.py:30 -> optimizer.new train.py:35 -> wrap.new train.py:41",
    ]


def test_a_block_without_what_is_not_known() -> None:
    bare = replace(
        FINDING, where=Location("a.py", 1), step=None, rank=None, witness=FINDING.witness[:1] * 20
    )
    lines = finding_block(bare).splitlines()
    assert lines[1] == "  a.py:1"
    assert lines[5].count("model.new") == 8
    assert "(12 more)" in lines[5]
    assert finding_block(replace(bare, witness=())).count("\n") == 4


def test_colour_is_only_on_request() -> None:
    assert "\x1b" not in finding_block(FINDING)
    plain = finding_block(FINDING, colour=True).replace("\x1b[31m", "").replace("\x1b[0m", "")
    assert plain == finding_block(FINDING)


def test_the_summary() -> None:
    assert summary(REPORT).splitlines() == [
        "tcstatic: 1 error: TCS201 train.py:41 x12",
        "tcstatic: invariants: 3 in scope, 2 checked (1,212 observations), 1 held, 1 violated,"
        " 1 never triggered, 1 out of scope",
        "tcstatic: watched 25 % of the optimizer steps in full; 31 probes, 1,234 events",
        "tcstatic: probe switched off: grad-norm (ValueError: x)",
        "tcstatic: file left alone: old.py (not UTF-8)",
    ]


def test_what_was_not_told_in_full_is_no_probe_that_was_switched_off() -> None:
    thin = replace(REPORT, probes=ProbeCounts(thinned=(("call", "one step in 16 is told"),)))
    assert "tcstatic: not every call was told: one step in 16 is told" in summary(thin)
    assert "switched off" not in summary(thin)
    assert from_json(to_json(thin)) == thin
    assert merge([thin, thin]).probes.thinned == thin.probes.thinned


def test_what_comments_silence_is_counted_once_for_all_ranks() -> None:
    quiet = replace(REPORT, findings=(), silenced=(FINDING, replace(FINDING, fingerprint="d")))
    assert summary(quiet).startswith("tcstatic: no finding; 2 silenced by comments\n")
    told = replace(quiet, findings=REPORT.findings)
    assert "TCS201 train.py:41 x12; 2 silenced by comments\n" in summary(told)
    assert from_json(to_json(quiet)) == quiet
    assert json.loads(to_json(quiet))["silenced"] == json.loads(to_json(told))["findings"] + [
        {**json.loads(to_json(told))["findings"][0], "fingerprint": "d"}
    ]
    job = merge([quiet, replace(quiet, ranks=(1,))])
    assert [(one.fingerprint, one.count) for one in job.silenced] == [("abc", 24), ("d", 24)]
    assert job.findings == ()


def test_the_summary_of_a_healthy_job() -> None:
    healthy = Report("", "x.py", 0, ranks=(0, 1), incomplete=("rank 1 was killed",))
    assert summary(healthy).splitlines() == [
        "tcstatic: no finding",
        "tcstatic: invariants: 0 in scope, 0 checked (0 observations), 0 held, 0 violated,"
        " 0 never triggered",
        "tcstatic: no training was seen; 0 probes, 0 events; ranks 0, 1",
        "tcstatic: incomplete: rank 1 was killed",
    ]
    almost = replace(healthy, probes=ProbeCounts(events=1, sampled=0.99999))
    assert "watched >99.9 %" in summary(almost)


def test_a_file_that_was_left_alone_is_named_once() -> None:
    reason = "/home/x/old.py:3: syntax error, got invalid syntax"
    skipped = ProbeCounts(skipped=(("old.py", reason), ("new.py", reason)))
    lines = summary(replace(REPORT, probes=skipped)).splitlines()
    assert f"tcstatic: file left alone: {reason}" in lines
    assert f"tcstatic: file left alone: new.py ({reason})" in lines


def test_every_summary_line_is_ours_and_long_lists_are_cut() -> None:
    many = ProbeCounts(skipped=tuple((f"{n}.py", "two\nlines") for n in range(30)))
    lines = summary(replace(REPORT, probes=many)).splitlines()
    assert all(line.startswith("tcstatic: ") for line in lines)
    assert len(lines) < 12
    assert lines[-1] == "tcstatic: and 25 more such lines"


def test_the_text_report_holds_all() -> None:
    text = full_text(REPORT)
    assert text.startswith("tcstatic: tcstatic run train.py")
    assert finding_block(FINDING) in text
    assert "seen: 12 times" in text
    assert text.endswith(summary(REPORT) + "\n")


def test_merge_adds_counts_and_joins_findings() -> None:
    other = replace(
        REPORT,
        exit_status=1,
        ranks=(1,),
        invariants=InvariantCounts(
            in_scope=("TCS101", "TCS112", "TCS501"),
            checked={"TCS101": 5, "TCS112": 3},
            held=("TCS112",),
            violated=("TCS101",),
            out_of_scope={"TCS601": "no loader"},
        ),
        findings=(
            replace(FINDING, rank=1, step=None, count=3),
            replace(FINDING, code="TCS101", severity="warning", fingerprint="x", rank=1, count=1),
        ),
        probes=ProbeCounts(9, 6, 1.0, (("grad-norm", "ValueError: x"),)),
        incomplete=("rank 2: killed",),
    )
    whole = merge([other, REPORT])
    assert whole == merge([REPORT, other])
    assert whole.exit_status == 1
    assert whole.ranks == (0, 1)
    assert whole.incomplete == ("rank 2: killed",)
    assert whole.invariants == InvariantCounts(
        in_scope=("TCS101", "TCS112", "TCS201", "TCS501"),
        checked={"TCS101": 1205, "TCS112": 3, "TCS201": 12},
        held=("TCS112",),
        violated=("TCS101", "TCS201"),
        never_triggered=("TCS501",),
        out_of_scope={"TCS601": "no loader"},
    )
    assert [(one.code, one.count, one.rank, one.step) for one in whole.findings] == [
        ("TCS201", 15, 0, 0),
        ("TCS101", 1, 1, 0),
    ]
    assert whole.probes == ProbeCounts(
        40, 1240, 0.25, (("grad-norm", "ValueError: x"),), (("old.py", "not UTF-8"),)
    )


@pytest.mark.parametrize(
    ("statuses", "merged"),
    [((0, 0), 0), ((0, None), None), ((None, 3), 3), ((1, 3), 1), ((-9, 1), -9)],
)
def test_merged_exit_status(statuses: tuple[int | None, int | None], merged: int | None) -> None:
    reports = [replace(REPORT, ranks=(n,), exit_status=one) for n, one in enumerate(statuses)]
    assert merge(reports).exit_status == merged


def test_merging_one_report_changes_nothing() -> None:
    assert merge([REPORT]) == replace(
        REPORT, invariants=replace(REPORT.invariants, checked={"TCS101": 1200, "TCS201": 12})
    )


def test_write_by_suffix(tmp_path: Path) -> None:
    write(REPORT, tmp_path / "new" / "report.json")
    assert from_json((tmp_path / "new" / "report.json").read_text()) == REPORT
    write(REPORT, tmp_path / "report.TXT")
    assert (tmp_path / "report.TXT").read_text() == full_text(REPORT)
    write(replace(REPORT, script="other.py"), tmp_path / "report.TXT")
    names = sorted(path.name for path in tmp_path.rglob("*"))
    assert names == ["new", "report.TXT", "report.json"]
    mask = os.umask(0o022)
    os.umask(mask)
    assert (tmp_path / "report.TXT").stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.parametrize("name", ["report.html", "report", ".json"])
def test_unknown_kinds_are_refused(tmp_path: Path, name: str) -> None:
    for function in (check_path, lambda path: write(REPORT, path)):
        with pytest.raises(InputError, match=r"unknown kind.*ends in one of \.json \.txt"):
            function(tmp_path / name)


def test_places_where_no_report_can_be(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "folder.json", tmp_path / "file" / "report.json"):
        for function in (check_path, lambda path: write(REPORT, path)):
            with pytest.raises(InputError, match="cannot be written"):
                function(path)
    with pytest.raises(InputError, match=r"there is no folder .*/a/b\)"):
        check_path(tmp_path / "a" / "b" / "report.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.json"]


def test_the_room_needs_no_library(repo: Path) -> None:
    code = (
        "import sys; import tcstatic.report;"
        "print(sorted({m.split('.')[0] for m in sys.modules}"
        " & {'click','yaml','libcst','torch','numpy'}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=repo, capture_output=True, text=True)
    assert ran.stdout == "[]\n", ran.stderr
