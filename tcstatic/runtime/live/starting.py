"""Start to watch this process: the steps that a run, a copy and a child have in common."""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path

from tcstatic.model import ProbePlan, RunOptions
from tcstatic.runtime.live import children, signals
from tcstatic.runtime.live.job import Job
from tcstatic.runtime.live.recording import sink_for
from tcstatic.runtime.live.session import Calling, Session

_inherited: tuple[Job, Calling] | None = None


def begin(plan: ProbePlan, calling: Calling, job: Job, *, rewritten_copy: bool) -> Session:
    """Return a started session, which will finish at exit at the latest.

    `rewritten_copy` tells that children find the plan by themselves, beside their source.
    """
    session = Session(plan, calling, job, sink_for(plan, calling, job))
    # Before anything of the user's, so that it runs after all of it.
    atexit.register(_last, session)
    session.start()
    signals.install(session)
    children.follow(session, rewritten_copy=rewritten_copy)
    return session


def paths(options: RunOptions) -> tuple[Path, ...]:
    """The paths of the reports, while the current folder is still the one that they mean."""
    return tuple(Path(path).absolute() for path in options.reports)


def inherit(job: Job, calling: Calling) -> None:
    """In a spawned child: keep what its parent has handed over until its source asks."""
    global _inherited
    _inherited = job, calling


def inherited() -> tuple[Job, Calling] | None:
    """What the parent has handed over, None in a process that nobody watched has started."""
    return _inherited


def _last(session: Session) -> None:
    if os.getpid() != session.pid:
        return
    promised = session.promised
    if promised is None and not session.job.child:
        # A copy: nobody has seen how the script ended, but an exception leaves a trace.
        promised = session.status
        if promised is None:
            last = getattr(sys, "last_value", None)
            promised = 130 if isinstance(last, KeyboardInterrupt) else int(last is not None)
        session.status = promised
    session.finish()
    if promised == 0 and session.final_status(0) != 0:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (AttributeError, OSError, ValueError):
                continue
        # The status is out of Python's hands by now; all that is left to run is finalisers.
        os._exit(session.final_status(0))
