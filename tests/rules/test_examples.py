"""Every example of every rule: a bad one has its `# expect:` finding alone, a good one none."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import pytest

from tcstatic.invariants.relations import check_params
from tcstatic.invariants.rules import default_rules_folder, load_rules
from tcstatic.model import Example, Invariant

EXPECT: Final = re.compile(r"# expect: ([A-Z]+\d+) step=(\d+)$")
RULES: Final = load_rules([default_rules_folder()], schema=check_params)
# What the source alone decides is tested in test_lint_examples.py.
WATCHED: Final = tuple(rule for rule in RULES if "run" in rule.feeds)
EXAMPLES: Final = [
    pytest.param(rule, example, id=f"{rule.code}-{number}-{example.kind}", marks=_marks)
    for rule in WATCHED
    for number, example in enumerate(rule.examples)
    for _marks in [[pytest.mark.distributed] if example.ranks > 1 else []]
]


@final
@dataclass(frozen=True, slots=True)
class Ran:
    """How a run of an example ended: its findings as (code, line, step)."""

    findings: list[tuple[str, int, int]]
    severities: list[str]
    checked: set[str]
    output: str


@final
class Runner:
    """Runs scripts in forks of one process; see `tests.rules.serving`."""

    def __init__(self, folder: Path, repo: Path) -> None:
        self._folder = folder
        self._runs = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.rules.serving"],
            cwd=repo,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TCSTATIC_CACHE": str(folder / "cache")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, example: Example, *, ignore: tuple[str, ...] = ()) -> Ran:
        """Run an example under all shipped rules but those to ignore."""
        folder = self._folder / f"run{self._runs}"
        self._runs += 1
        folder.mkdir()
        (folder / "train.py").write_text(example.text)
        request = {
            "folder": str(folder),
            "script": "train.py",
            "ranks": example.ranks,
            "ignore": ignore,
        }
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return _ran(answer)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def _ran(answer: dict[str, Any]) -> Ran:
    report, output = answer["report"], answer["output"]
    assert answer["status"] == 0 and report is not None, output
    assert report["probes"]["disabled"] == []
    assert report.get("incomplete", []) == []
    found = report["findings"]
    return Ran(
        findings=[(one["code"], one["line"], one["step"]) for one in found],
        severities=[one["severity"] for one in found],
        checked=set(report["invariants"]["checked"]),
        output=output,
    )


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory, repo: Path) -> Iterator[Runner]:
    runner = Runner(tmp_path_factory.mktemp("examples"), repo)
    yield runner
    runner.close()


def expected(text: str) -> list[tuple[str, int, int]]:
    """The (code, line, step) that the comments of a script announce."""
    return [
        (match[1], number, int(match[2]))
        for number, line in enumerate(text.splitlines(), 1)
        if (match := EXPECT.search(line))
    ]


@pytest.mark.parametrize(("rule", "example"), EXAMPLES)
def test_an_example_does_as_it_says(rule: Invariant, example: Example, runner: Runner) -> None:
    ran = runner.run(example)
    assert ran.findings == expected(example.text), ran.output
    assert ran.severities == [rule.severity] * len(ran.findings)


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule.code) for rule in WATCHED])
def test_without_the_rule_its_finding_is_gone(rule: Invariant, runner: Runner) -> None:
    bad = [example for example in rule.examples if example.kind == "bad"]
    ran = runner.run(bad[0], ignore=(rule.code,))
    assert rule.code not in {code for code, _, _ in ran.findings}
    assert rule.code not in ran.checked


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule.code) for rule in WATCHED])
def test_a_rule_has_examples_of_both_kinds(rule: Invariant) -> None:
    bad = [example for example in rule.examples if example.kind == "bad"]
    good = [example for example in rule.examples if example.kind == "good"]
    assert len(bad) >= 1 and len(good) >= 2
    assert all(example.title for example in rule.examples)
    for example in bad:
        assert [code for code, _, _ in expected(example.text)] == [rule.code]
    for example in good:
        assert expected(example.text) == []


@pytest.mark.distributed
@pytest.mark.slow
def test_ranks_that_an_example_spawns_itself(repo: Path, tmp_path: Path) -> None:
    rule = next(rule for rule in RULES if rule.code == "TCS501")
    example = rule.examples[0]
    (tmp_path / "train.py").write_text(example.text)
    environment = {**os.environ, "PYTHONPATH": str(repo), "TCSTATIC_CACHE": str(tmp_path / "c")}
    environment.pop("WORLD_SIZE", None)
    words = ["run", "--quiet", "--report", "report.json", "train.py"]
    ran = subprocess.run(
        [sys.executable, "-m", "tcstatic", *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["ranks"] == [0, 1]
    found = [(one["code"], one["line"], one["step"]) for one in report["findings"]]
    assert found == expected(example.text)
