"""Runs a program under `runtime.live` with a Watch and a Driver that need no torch.

As a program: ``python -m tests.unit.live.standin PLAN [-m] SCRIPT ARGS...``. The number of a site
says what its event means to the stand-in driver.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from tcstatic.model import (
    Event,
    Finding,
    InvariantCounts,
    Location,
    Needs,
    PlannedFile,
    ProbeCounts,
    ProbePlan,
    RunOptions,
)
from tcstatic.runtime.live import codecache, planfile

NOTHING, WARNING, ERROR, ERROR_AT_END, OUR_BUG = 0, 55, 66, 67, 99


class StandInDriver:
    """Takes an event of site ERROR for an error, and so on."""

    def __init__(self, invariants: Sequence[Any]) -> None:
        self.needs = Needs(frozenset({"call"}))
        self._events: list[int] = []
        self._found: dict[str, Finding] = {}

    def feed_all(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.values["number"] == OUR_BUG:
                raise RuntimeError("the monitor fell over")
            self._events.append(event.values["number"])

    @property
    def failing(self) -> bool:
        return bool(self._events)

    def settle(self, final: bool = False, *, whole: bool = True) -> tuple[Finding, ...]:
        new = []
        for number in self._events:
            if number in (WARNING, ERROR) or (number == ERROR_AT_END and final):
                severity: Literal["warning", "error"] = "warning" if number == WARNING else "error"
                finding = Finding(
                    code=f"TCS{number}",
                    name="stand-in",
                    severity=severity,
                    message="something is wrong",
                    where=Location("train.py", 1),
                    why="because",
                    cure="mend it",
                    fingerprint=str(number),
                )
                if str(number) not in self._found:
                    new.append(finding)
                self._found[str(number)] = finding
        return tuple(new)

    def findings(self) -> tuple[Finding, ...]:
        return tuple(self._found.values())

    def counts(self) -> InvariantCounts:
        return InvariantCounts(in_scope=("TCS1",), checked={"TCS1": len(self._events)})


class StandInWatch:
    """Each `after` is an event and a step boundary."""

    def __init__(
        self,
        sites: Sequence[Any],
        root: str,
        needs: Needs,
        budget: float,
        emit: Callable[[Sequence[Event]], None],
        settle: Callable[[], None],
        files: Sequence[str] = (),
        **more: Any,
    ) -> None:
        self.steps = 0
        self._events = 0
        self._open = True
        self._emit = emit
        self._settle = settle

    def after(self, number: int, value: Any) -> Any:
        if self._open:
            self.steps += 1
            self._events += 1
            self._emit([Event("call", self._events, None, values={"number": number})])
            self._settle()
        return value

    on = target = loop = after

    def torch_imported(self) -> None:
        print("torch was imported")

    def counts(self) -> ProbeCounts:
        return ProbeCounts(events=self._events)

    def flush(self) -> None:
        pass

    def close(self, *, patient: bool = False) -> ProbeCounts:
        self._open = False
        return self.counts()

    def pause(self) -> None:
        self._open = False


def plan_for(
    folder: Path, instrumented: dict[str, str], options: RunOptions | None = None
) -> ProbePlan:
    """A plan for files in `folder`: by name, the text that runs in their place."""
    files = []
    for name, text in instrumented.items():
        path = folder / name
        source = path.read_bytes()
        code = compile(text, str(path), "exec", dont_inherit=True)
        key = hashlib.sha256(text.encode() + source).hexdigest()
        entry = codecache.store(code, folder / ".cache", key)
        files.append(PlannedFile(name, hashlib.sha256(source).hexdigest(), entry))
    return ProbePlan(
        root=str(folder),
        script="train.py",
        files=tuple(files),
        options=options or RunOptions(quiet=True),
    )


def stand_in() -> None:
    """Put the stand-ins where `runtime.live` looks for the real ones."""
    import tcstatic.check
    from tcstatic.runtime.live import session

    for module in (tcstatic.check, session):
        module.Driver = StandInDriver  # type: ignore[attr-defined]
    session.Watch = StandInWatch  # type: ignore[attr-defined]


def main() -> None:
    from tcstatic.errors import TcstaticError
    from tcstatic.runtime.live import run_module, run_script

    stand_in()
    plan, arguments = planfile.load(sys.argv[1]), sys.argv[2:]
    changes = json.loads(os.environ.pop("STANDIN_OPTIONS", "{}"))
    plan = replace(plan, options=replace(plan.options, **changes))
    try:
        if arguments[0] == "-m":
            run_module(plan, arguments[1:])
        run_script(plan, arguments)
    except TcstaticError as error:
        print(f"tcstatic: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
