"""A session: what it tells, what it keeps, and that nothing of ours ends the program."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tcstatic.model import ProbePlan, RunOptions, Skipped, Verdict
from tcstatic.runtime.live import session as sessions
from tcstatic.runtime.live.job import Job
from tcstatic.runtime.live.session import Calling, Session, Stop
from tests.unit.live.standin import (
    ERROR,
    ERROR_AT_END,
    NOTHING,
    OUR_BUG,
    WARNING,
    StandInDriver,
    StandInWatch,
)

PLAN = ProbePlan(root="/r", script="train.py")


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "Driver", StandInDriver)
    monkeypatch.setattr(sessions, "Watch", StandInWatch)
    monkeypatch.setattr(sessions, "when_imported", lambda name, callback: None)
    monkeypatch.delenv("WORLD_SIZE", raising=False)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(sessions, "say", lines.append)
    return lines


def begun(plan: ProbePlan = PLAN, reports: tuple[Path, ...] = (), **options: Any) -> Any:
    calling = Calling("tcstatic run train.py", "train.py", replace(RunOptions(), **options))
    session = Session(plan, calling, Job(reports))
    session.start()
    return session


def test_probes_hand_their_values_back(told: list[str]) -> None:
    session, value = begun(), object()
    for probe in ("after", "on", "target", "loop"):
        assert getattr(session.probes, probe)(NOTHING, value) is value
    assert callable(session.probes)


def test_each_finding_is_told_once(told: list[str]) -> None:
    session = begun()
    for _ in range(3):
        session.probes.after(ERROR, 1)
        session.probes.after(WARNING, 1)
    assert [block.splitlines()[0] for block in told] == [
        "tcstatic: error TCS66 stand-in",
        "tcstatic: warning TCS55 stand-in",
    ]


def test_finish_judges_what_is_pending_once(told: list[str]) -> None:
    session = begun()
    session.probes.after(ERROR_AT_END, 1)
    assert told == []
    session.finish()
    assert "error TCS67" in told[0] and "1 error: TCS67" in told[1]
    session.finish()
    session.probes.after(ERROR, 1)
    assert len(told) == 2


@pytest.mark.parametrize(
    ("number", "asked", "own", "wanted"),
    [
        (ERROR, "warn", 0, 0),
        (ERROR, "fail", 0, 1),
        (ERROR, "fail", 3, 3),
        (WARNING, "fail", 0, 0),
        (NOTHING, "fail", 0, 0),
    ],
)
def test_final_status(told: list[str], number: int, asked: Any, own: int, wanted: int) -> None:
    session = begun(on_violation=asked)
    session.probes.after(number, 1)
    session.finish()
    assert session.final_status(own) == wanted


def test_stop_ends_the_program_until_it_has_ended(told: list[str]) -> None:
    session = begun(on_violation="stop")
    session.probes.after(WARNING, 1)
    for number in (ERROR, NOTHING):
        with pytest.raises(Stop) as stopped:
            session.probes.after(number, 1)
        assert stopped.value.code == 1
        assert not isinstance(stopped.value, Exception)
    session.finish()
    session.probes.after(NOTHING, 1)
    assert session.final_status(0) == 1
    assert [one for one in told if "stopped" in one] == [
        "tcstatic: stopped at the first error, as --on-violation stop asks"
    ]


def test_a_failing_monitor_is_switched_off_and_named(told: list[str]) -> None:
    session = begun(on_violation="stop")
    session.probes.after(OUR_BUG, 1)
    session.probes.after(OUR_BUG, 1)
    session.finish()
    assert len(told) == 1
    assert "probe switched off: monitors (RuntimeError: the monitor fell over)" in told[0]


@pytest.mark.parametrize("broken", ["settle", "findings", "counts"])
def test_a_driver_that_fails_harms_nothing(
    told: list[str], monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fall_over(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    session = begun()
    monkeypatch.setattr(StandInDriver, broken, fall_over)
    session.probes.after(ERROR, 1)
    session.finish()
    assert "switched off" in told[-1]


@pytest.mark.parametrize("broken", ["close", "counts", "flush"])
def test_a_watch_that_fails_harms_nothing(
    told: list[str], monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fall_over(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    session = begun()
    monkeypatch.setattr(StandInWatch, broken, fall_over)
    session.judge()
    session.finish()
    assert "switched off: probes (ZeroDivisionError)" in told[-1]


def test_the_report_holds_what_the_plan_left_out(told: list[str]) -> None:
    plan = replace(
        PLAN,
        out_of_scope=(("TCS501", Verdict("OUT_OF_SCOPE", "one rank")),),
        skipped=(Skipped("bad.py", "does not round-trip"),),
    )
    report = begun(plan).report()
    assert report.invariants.out_of_scope == {"TCS501": "one rank"}
    assert report.probes.skipped == (("bad.py", "does not round-trip"),)


def test_the_report_is_written_with_each_finding(told: list[str], tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    session = begun(reports=(path,))
    session.probes.after(NOTHING, 1)
    assert not path.exists()
    session.probes.after(ERROR, 1)
    assert json.loads(path.read_text(encoding="utf-8"))["exit_status"] is None
    session.status = 0
    session.finish()
    assert json.loads(path.read_text(encoding="utf-8"))["exit_status"] == 0


def test_the_report_is_written_now_and_then(
    told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "PART_SECONDS", 0.0)
    path = tmp_path / "out.json"
    begun(reports=(path,)).probes.after(NOTHING, 1)
    assert path.exists()


def test_threads_do_not_get_into_one_anothers_way(told: list[str]) -> None:
    session = begun()

    def train() -> None:
        for _ in range(200):
            session.probes.after(ERROR, 1)

    threads = [threading.Thread(target=train) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 1
    assert session.report().invariants.checked == {"TCS1": 800}


def test_after_abandon_nothing_is_told(told: list[str]) -> None:
    session = begun()
    session.abandon()
    session.probes.after(ERROR, 1)
    session.finish()
    assert told == []
