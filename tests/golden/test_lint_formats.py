"""Each output format of `lint`, whole: the same findings against one text a format.

The texts lie in `lint_formats/`; ``TCSTATIC_WRITE_GOLDEN=1`` writes them anew.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest

from tcstatic import __version__, cli
from tcstatic.cli.lintoutput import Shown, show
from tcstatic.lint.outcome import Outcome
from tcstatic.lint.own_rules import USELESS
from tcstatic.lint.ruleset import every_rule
from tcstatic.model import (
    Edit,
    Finding,
    Fix,
    InvariantCounts,
    Location,
    ProbeCounts,
    Report,
    RuleVerdict,
    Skipped,
    Verdict,
    Witness,
)
from tcstatic.report.sarif import to_sarif
from tests.unit.lint.projects import BAD

FORMATS: Final = {
    "text": "txt",
    "concise": "txt",
    "github": "txt",
    "json": "json",
    "sarif": "sarif",
}
GOLDEN: Final = Path(__file__).parent / "lint_formats"
# A source distribution that carries the schema of the standard; its own licence keeps it out of
# this repository.
SCHEMA_FROM: Final = "cfn-lint==1.58.0"
SCHEMA_PATH: Final = "test/fixtures/schemas/sarif/schema-2.1.0.json"

CLEARING: Final = Finding(
    code="TCS112",
    name="gradients-not-cleared",
    severity="error",
    message="optimizer (SGD, built at src/train.py:4) is stepped again: 100%, or so",
    where=Location("src/train.py", 8, 5, 8, 21, "<module>"),
    why="Gradients of earlier batches add up.",
    cure="Call zero_grad() once per step.",
    witness=(
        Witness("src/train.py", 4, "optimizer.new", values={"lr": 0.1}),
        Witness("src/train.py", 8, "optimizer.step"),
    ),
    fingerprint="0123456789abcdef0123456789abcdef",
    fix=Fix(
        "clear the gradients after the step",
        False,
        (Edit("src/train.py", 9, 1, 9, 1, "    optimizer.zero_grad()\n"),),
    ),
)
COMMENT: Final = Finding(
    code="TCS001",
    name="useless-suppression",
    severity="warning",
    message="the comment silences nothing: there is no rule 'TCS998'",
    where=Location("src/my file.py", 2, 8, 2, 22),
    why="It hides the next finding.",
    cure="Remove the comment.",
    fingerprint="00000000000000000000000000000000",
    fix=Fix("remove the comment", True, (Edit("src/my file.py", 2, 6, 2, 22, ""),)),
)
NOTE: Final = Finding(
    code="TCS304",
    name="gradients-recorded-in-evaluation",
    severity="note",
    message="gradients are recorded",
    where=Location("src/train.py", 6, 12, 7, 20, "evaluate"),
    why="Memory.",
    cure="Use no_grad().",
)


@pytest.fixture
def outcome(tmp_path: Path) -> Outcome:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").write_text(BAD)
    (tmp_path / "src" / "my file.py").write_text("import torch\nx = 1  # noqa: TCS998\n")
    report = Report(
        command="lint",
        script="src",
        exit_status=2,
        invariants=InvariantCounts(
            in_scope=("TCS112", "TCS113"),
            checked={"TCS112": 2},
            violated=("TCS112",),
            never_triggered=("TCS113",),
            out_of_scope={"TCS404": "decided by a run"},
        ),
        findings=(COMMENT, NOTE, CLEARING),
        probes=ProbeCounts(skipped=(("src/broken.py", "syntax error (line 1)"),)),
        verdicts=(
            RuleVerdict("TCS112", Verdict("VIOLATED"), times=1),
            RuleVerdict("TCS112", Verdict("UNKNOWN", "the loss is of unknown origin"), times=3),
            RuleVerdict("TCS404", Verdict("OUT_OF_SCOPE", "decided by a run"), times=4),
        ),
    )
    problems = (Skipped(str(tmp_path / "src" / "broken.py"), "syntax error (line 1)"),)
    rules = {one.code: one for one in (USELESS, *every_rule()) if one.code in CODES}
    return Outcome(report, tmp_path, rules, files=4, problems=problems, silenced=1, known=2, gone=1)


CODES: Final = {"TCS001", "TCS404"}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format(
    name: str,
    outcome: Outcome,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(outcome.base)
    show(outcome, Shown(format=name, texts={}, old_texts={}, statistics=True))
    captured = capfd.readouterr()
    text = captured.out.replace(__version__, "VERSION")
    if name == "sarif":
        text = without_pages(text)
    path = GOLDEN / f"{name}.{FORMATS[name]}"
    if os.environ.get("TCSTATIC_WRITE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()
    assert captured.err.startswith("tcstatic: src/broken.py: syntax error (line 1)\n")


def without_pages(text: str) -> str:
    """The help of a rule is its page, which changes with its file."""
    data = json.loads(text)
    for rule in data["runs"][0]["tool"]["driver"]["rules"]:
        for key in set(rule) - {"id", "name"}:
            del rule[key]
    return json.dumps(data, indent=2) + "\n"


def test_colours(
    outcome: Outcome, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(outcome.base)
    monkeypatch.setattr("tcstatic.cli.lintoutput._in_colour", lambda aside: True)
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda *_: False)
    show(outcome, Shown(format="text", texts={}, old_texts={}, statistics=True))
    coloured = capfd.readouterr().out
    assert "\x1b[31merror\x1b[0m" in coloured
    plain = re.sub(r"\x1b\[\d*m", "", coloured)
    assert plain == (GOLDEN / "text.txt").read_text()


@pytest.fixture(scope="session")
def sarif_schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The schema of the standard, as the package index has it."""
    folder = tmp_path_factory.mktemp("sarif")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary"]
    command += [":all:", "--disable-pip-version-check", "--dest", str(folder), SCHEMA_FROM]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    archives = list(folder.glob("*.tar.gz"))
    if ran.returncode or not archives:
        pytest.skip(f"no package index at hand: {ran.stderr.strip()[-200:]}")
    with tarfile.open(archives[0]) as archive:
        name = next(one for one in archive.getnames() if one.endswith(SCHEMA_PATH))
        stream = archive.extractfile(name)
        assert stream is not None
        schema: dict[str, Any] = json.load(stream)
    assert schema["title"].startswith("Static Analysis Results Format (SARIF) Version 2.1.0")
    return schema


@pytest.mark.slow
def test_sarif_is_valid(outcome: Outcome, sarif_schema: dict[str, Any]) -> None:
    rules = {one.code: one for one in (USELESS, *every_rule())}
    for one in (outcome.report, Report("lint", ".", 0), Report("lint", ".", None)):
        jsonschema.validate(json.loads(to_sarif(one, rules)), sarif_schema)
    data = json.loads(to_sarif(outcome.report, rules))
    data["runs"][0]["results"][0]["level"] = "fatal"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, sarif_schema)


@pytest.mark.slow
def test_sarif_of_a_real_lint_is_valid(
    tmp_path: Path,
    sarif_schema: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TCSTATIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(BAD)
    (tmp_path / "broken.py").write_text("def f(:\n")
    assert cli.main(["lint", "--output-format", "sarif"]) == 2
    data = json.loads(capfd.readouterr().out)
    jsonschema.validate(data, sarif_schema)
    (result,) = data["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]["artifactLocation"]
    assert place == {"uri": "train.py", "uriBaseId": "%SRCROOT%"}
    assert result["partialFingerprints"]
    assert result["relatedLocations"]


def test_places_outside_of_the_repository_are_absolute() -> None:
    finding = Finding("TCS1", "x", "error", "m", Location("/tmp/a b.py", 1), "w", "c")
    data = json.loads(to_sarif(Report("lint", ".", 1, findings=(finding,)), {}))
    place = data["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "file:///tmp/a%20b.py"}
