"""The entry of an instrumented copy: its `_tcstatic.py` calls `attach` when it is imported."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from tcstatic.errors import InputError, TcstaticError
from tcstatic.model import Mesh, OnViolation, ProbePlan, RunOptions
from tcstatic.report import check_path
from tcstatic.runtime.live.endings import status_of
from tcstatic.runtime.live.job import Job
from tcstatic.runtime.live.planfile import load
from tcstatic.runtime.live.session import PROBES, Calling, Session
from tcstatic.runtime.live.starting import begin, inherited, paths
from tcstatic.runtime.live.terminal import complain


def attach(plan_path: str | Path) -> Any:
    """Watch this process; return an object with the functions `after`, `on`, `target`, `loop`.

    Never raises: where the process cannot be watched, one line says so, and the functions hand
    their values back. The report's paths come from ``TCSTATIC_REPORT`` (joined as in ``PATH``) or
    the plan, the other options from ``TCSTATIC_ON_VIOLATION``, ``TCSTATIC_OVERHEAD_BUDGET``
    (a percentage) and ``TCSTATIC_QUIET`` or the plan; ``TCSTATIC_TRACE`` names a folder to record
    into, which watches every step in full unless a budget is named too.
    """
    try:
        plan = _placed(load(plan_path), os.path.dirname(os.path.abspath(plan_path)))
        job, calling = inherited() or _own(plan)
        session = begin(plan, calling, job, rewritten_copy=True)
        _learn_status(session)
        return session.probes
    except TcstaticError as error:
        complain(f"this run is not watched: {error}")
    except Exception as error:
        complain(f"this run is not watched ({type(error).__name__}: {error})")
    return type("_tcstatic", (), {name: staticmethod(_passed) for name in PROBES})


def _placed(plan: ProbePlan, folder: str) -> ProbePlan:
    """The plan of a copy that may have been moved since it was made."""
    script = os.path.join(folder, os.path.relpath(plan.script, plan.root))
    return replace(plan, root=folder, script=script)


def _own(plan: ProbePlan) -> tuple[Job, Calling]:
    options = options_from(os.environ, plan.options)
    reports = []
    for path in paths(options):
        try:
            check_path(path)
            reports.append(path)
        except InputError as error:
            complain(str(error))
    calling = Calling(shlex.join(["python", *sys.argv]), plan.script, options)
    return Job(tuple(reports)), calling


def options_from(environment: Any, planned: RunOptions) -> RunOptions:
    """The plan's options with those that the environment names put over them."""
    options = planned
    reports = environment.get("TCSTATIC_REPORT")
    if reports:
        named = tuple(path for path in reports.split(os.pathsep) if path)
        options = replace(options, reports=named)
    asked = environment.get("TCSTATIC_ON_VIOLATION")
    kinds: dict[str, OnViolation] = {"warn": "warn", "fail": "fail", "stop": "stop"}
    if asked:
        if asked in kinds:
            options = replace(options, on_violation=kinds[asked])
        else:
            complain(f"TCSTATIC_ON_VIOLATION={asked}: ignored; expected one of warn, fail, stop")
    trace = environment.get("TCSTATIC_TRACE")
    if trace:
        options = replace(options, trace=os.path.abspath(trace), overhead_budget=1.0)
    budget = environment.get("TCSTATIC_OVERHEAD_BUDGET")
    if budget:
        share = _share(budget)
        if share is None:
            complain(f"TCSTATIC_OVERHEAD_BUDGET={budget}: ignored; expected a percentage, as 1%")
        else:
            options = replace(options, overhead_budget=share)
    mesh = _mesh(environment.get("TCSTATIC_MESH", ""))
    options = replace(options, mesh=mesh or options.mesh)
    if environment.get("TCSTATIC_QUIET", "0") not in ("", "0"):
        options = replace(options, quiet=True)
    return options


def _mesh(text: str) -> str:
    try:
        if text:
            Mesh.from_text(text)
    except ValueError as error:
        complain(f"TCSTATIC_MESH={text}: ignored; {error}")
        return ""
    return text


def _share(text: str) -> float | None:
    try:
        percent = float(text.removesuffix("%"))
    except ValueError:
        return None
    return percent / 100 if 0 <= percent <= 100 else None


def _learn_status(session: Session) -> None:
    """Note with which status the program leaves: nobody tells it to code that runs at exit."""
    native = sys.exit

    def leave(status: Any = None, /) -> Any:
        session.status = status_of(SystemExit(status))
        native(status)

    leave.__name__ = leave.__qualname__ = "exit"
    leave.__doc__, leave.__module__ = native.__doc__, native.__module__
    sys.exit = leave


def _passed(number: int, value: Any) -> Any:
    return value
