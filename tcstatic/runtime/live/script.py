"""Become the user's program: run a planned script or module as ``python`` would."""

from __future__ import annotations

import builtins
import os
import runpy
import shlex
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import NoReturn

from tcstatic.errors import InputError, input_problem
from tcstatic.model import ProbePlan
from tcstatic.report import check_path
from tcstatic.runtime.live import loader
from tcstatic.runtime.live.endings import play
from tcstatic.runtime.live.job import Job
from tcstatic.runtime.live.loader import PlannedCode
from tcstatic.runtime.live.session import Calling, Session
from tcstatic.runtime.live.starting import begin, paths
from tcstatic.runtime.live.terminal import complain


def run_script(plan: ProbePlan, argv: Sequence[str]) -> NoReturn:
    """Run ``python argv...`` under the plan; ends by SystemExit, never returns.

    `argv` begins with the script. Raises InputError, before anything of the user's has run, where
    the script cannot be read or a report cannot be written.
    """
    script = argv[0]
    path = script if os.path.isabs(script) else os.path.join(os.getcwd(), script)
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        got = error.strerror or type(error).__name__
        raise InputError(
            input_problem("the script cannot be read", where=script, got=got)
        ) from None
    session, planned = _watch(plan, argv)
    main = _fresh_main()
    main.__dict__.update(__file__=path, __cached__=None)
    main.__loader__ = SourceFileLoader("__main__", path)
    sys.argv = list(argv)
    _set_first_path(os.path.dirname(os.path.realpath(path)))
    play(session, _body(planned, path, source, main))


def run_module(plan: ProbePlan, argv: Sequence[str]) -> NoReturn:
    """Run ``python -m argv...`` under the plan; `argv` begins with the module's name."""
    session, _ = _watch(plan, ["-m", *argv])
    _fresh_main()
    sys.argv = ["-m", *argv[1:]]
    _set_first_path(os.getcwd())
    # What the interpreter itself calls for -m; its frames are part of Python's tracebacks.
    run = runpy._run_module_as_main  # type: ignore[attr-defined]
    play(session, lambda: run(argv[0]))


def _watch(plan: ProbePlan, words: Sequence[str]) -> tuple[Session | None, PlannedCode | None]:
    """Begin to watch; a failure of our own leaves the program alone, with one line."""
    reports = paths(plan.options)
    for report in reports:
        check_path(report)
    calling = Calling(shlex.join(["tcstatic", "run", *words]), plan.script, plan.options)
    planned = PlannedCode(plan, complain)
    try:
        session = begin(plan, calling, Job(reports), rewritten_copy=False)
    except Exception as error:
        complain(f"this run is not watched ({type(error).__name__}: {error})")
        return None, None
    loader.install(planned)
    builtins.__dict__["_tcstatic"] = session.probes
    return session, planned


def _body(
    planned: PlannedCode | None, path: str, source: bytes, main: ModuleType
) -> Callable[[], None]:
    def body() -> None:
        code = planned.code(path, source) if planned is not None else None
        if code is None:
            code = compile(source, path, "exec", dont_inherit=True)
        exec(code, main.__dict__)

    return body


def _fresh_main() -> ModuleType:
    """Put a `__main__` in place that holds what Python's own holds, in its order."""
    main = ModuleType("__main__")
    if sys.version_info < (3, 14):
        main.__annotations__ = {}
    main.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = main
    return main


def _set_first_path(folder: str) -> None:
    # With -P or PYTHONSAFEPATH nothing is put there, neither for us nor for the script.
    if not sys.flags.safe_path:
        sys.path[:1] = [folder]
