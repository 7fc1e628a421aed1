"""In a spawned child: go on where the parent's plan says, before `__main__` is imported again."""

from __future__ import annotations

import builtins
import multiprocessing.util
import pkgutil
from pathlib import Path
from typing import IO, Any, cast

from tcstatic.runtime.live import loader
from tcstatic.runtime.live.job import Job
from tcstatic.runtime.live.loader import PlannedCode
from tcstatic.runtime.live.planfile import load
from tcstatic.runtime.live.session import Calling, Session
from tcstatic.runtime.live.starting import begin, inherit, paths
from tcstatic.runtime.live.terminal import complain


def take_over(folder: str, command: str, rewritten_copy: bool) -> None:
    """Watch this process as a part of the job in `folder`; on any failure it runs unwatched."""
    try:
        plan = load(Path(folder) / "plan.json")
        job = Job(paths(plan.options), folder=Path(folder), child=True)
        calling = Calling(command, plan.script, plan.options)
        if rewritten_copy:
            # The copy's own source will ask to be watched.
            inherit(job, calling)
            return
        session = begin(plan, calling, job, rewritten_copy=False)
    except Exception as error:
        complain(f"a child process is not watched ({type(error).__name__}: {error})")
        return
    planned = PlannedCode(plan, complain)
    loader.install(planned)
    builtins.__dict__["_tcstatic"] = session.probes
    _give_main_its_code(planned)


def begin_again(parent: Session, *, rewritten_copy: bool) -> None:
    """Watch this forked process, a rank of its own, as a part of its parent's job."""
    try:
        job = Job(parent.job.reports, folder=parent.job.meeting_place, child=True)
        session = begin(parent.plan, parent.calling, job, rewritten_copy=rewritten_copy)
    except Exception as error:
        complain(f"a forked rank is not watched ({type(error).__name__}: {error})")
        return
    # A child that multiprocessing has forked leaves by os._exit, past what atexit holds.
    multiprocessing.util.Finalize(None, session.finish, exitpriority=-100)


def _give_main_its_code(planned: PlannedCode) -> None:
    """Answer runpy's question whether the main file is compiled code: with ours, if planned."""
    native = pkgutil.read_code

    def read_code(stream: IO[bytes]) -> Any:
        pkgutil.read_code = native
        code = native(stream)
        if code is None and planned.knows(stream.name):
            stream.seek(0)
            code = planned.code(stream.name, stream.read())
        return code

    pkgutil.read_code = cast("Any", read_code)
