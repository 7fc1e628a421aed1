"""The options of a copy come from the environment, then from its plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcstatic.model import RunOptions
from tcstatic.runtime.live import attach as attach_function
from tcstatic.runtime.live.attach import options_from

PLANNED = RunOptions(("planned.json",), "fail", 0.02, False)


@pytest.mark.parametrize(
    ("environment", "options"),
    [
        ({}, PLANNED),
        ({"TCSTATIC_REPORT": "a.json:b.txt"}, RunOptions(("a.json", "b.txt"), "fail", 0.02)),
        ({"TCSTATIC_ON_VIOLATION": "stop"}, RunOptions(PLANNED.reports, "stop", 0.02)),
        ({"TCSTATIC_OVERHEAD_BUDGET": "5%"}, RunOptions(PLANNED.reports, "fail", 0.05)),
        ({"TCSTATIC_OVERHEAD_BUDGET": "0.5"}, RunOptions(PLANNED.reports, "fail", 0.005)),
        ({"TCSTATIC_QUIET": "1"}, RunOptions(PLANNED.reports, "fail", 0.02, True)),
        ({"TCSTATIC_QUIET": "0"}, PLANNED),
    ],
)
def test_options(environment: dict[str, str], options: RunOptions) -> None:
    assert options_from(environment, PLANNED) == options


@pytest.mark.parametrize(
    "environment",
    [
        {"TCSTATIC_ON_VIOLATION": "explode"},
        {"TCSTATIC_OVERHEAD_BUDGET": "much"},
        {"TCSTATIC_OVERHEAD_BUDGET": "-1"},
    ],
)
def test_a_wrong_option_is_told_and_ignored(
    environment: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert options_from(environment, PLANNED) == PLANNED
    (line,) = capfd.readouterr().err.splitlines()
    assert next(iter(environment)) in line and "ignored; expected" in line


def test_without_a_plan_the_program_runs_unwatched(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    probes, value = attach_function(tmp_path / "plan.json"), object()
    for probe in (probes.after, probes.on, probes.target, probes.loop):
        assert probe(1, value) is value
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("tcstatic: this run is not watched: ") and "plan.json" in line
