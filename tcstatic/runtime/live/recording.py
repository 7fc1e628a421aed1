"""The sink of a run that is recorded. Without ``--trace`` nothing of it is loaded."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Final

from tcstatic.errors import TcstaticError
from tcstatic.model import EventSink, ProbePlan, Recording, Site
from tcstatic.runtime.live.job import Job
from tcstatic.runtime.live.session import Calling
from tcstatic.runtime.live.terminal import complain

# By name: the storage library is loaded where a recording was asked for, and nowhere else.
ROOM: Final = "tcstatic.trace"


def sink_for(plan: ProbePlan, calling: Calling, job: Job) -> EventSink | None:
    """Return what records this process; None where nothing is to be recorded, or nothing can be."""
    folder = calling.options.trace
    if not folder:
        return None
    try:
        room = importlib.import_module(ROOM)
        room.claim_folder(Path(folder), joins=job.child)
        sink: EventSink = room.Recorder(
            Recording(
                folder=folder,
                command=calling.command,
                script=calling.script,
                sites=tuple(filter(_is_told, plan.sites)),
                in_scope=tuple(one.code for one in plan.invariants),
                out_of_scope={code: verdict.reason for code, verdict in plan.out_of_scope},
                assumed=plan.assumed,
                suppressions=plan.suppressions,
            )
        )
    except TcstaticError as error:
        complain(f"this run is not recorded: {error}")
    except Exception as error:
        complain(f"this run is not recorded ({type(error).__name__}: {error})")
    else:
        return sink
    return None


def _is_told(site: Site) -> bool:
    """Whether a site is worth a line of the manifest: of a call that is recorded, the whole is."""
    return site.arguments.get("part", "value") == "value"
