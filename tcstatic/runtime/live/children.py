"""Children of a watched process: spawned ones are watched too, forked ones fall silent."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any, Final, final

import tcstatic
from tcstatic.caching import write_whole
from tcstatic.model import ProbePlan
from tcstatic.runtime.live import signals
from tcstatic.runtime.live.codecache import whereabouts
from tcstatic.runtime.live.imports import when_imported
from tcstatic.runtime.live.planfile import dump
from tcstatic.runtime.live.session import Session

WORKERS: Final = "torch.utils.data._utils.worker"

# Run by the child while it unpickles what its parent prepared, before it imports `__main__`.
_TAKE_OVER: Final = """\
import sys
sys.path.append({home!r})
try:
    from tcstatic.runtime.live.takeover import take_over
except ImportError:
    pass
else:
    take_over({folder!r}, {command!r}, {rewritten_copy!r})
finally:
    sys.path.remove({home!r})
"""


@final
@dataclass(frozen=True, slots=True)
class Handover:
    """Stands in the data that a child unpickles first: to unpickle it is to take over."""

    text: str

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str, dict[str, Any]]]:
        return exec, (self.text, {})


def follow(session: Session, *, rewritten_copy: bool) -> None:
    """Have spawned children take over, and silence the session in forked ones."""
    wrap = functools.partial(_wrap_spawn, session, rewritten_copy)
    when_imported("multiprocessing.spawn", wrap)
    os.register_at_fork(after_in_child=functools.partial(_forked, session, rewritten_copy))


def _wrap_spawn(session: Session, rewritten_copy: bool) -> None:
    spawn: Any = sys.modules["multiprocessing.spawn"]
    native = spawn.get_preparation_data

    @functools.wraps(native)
    def get_preparation_data(name: str) -> dict[str, Any]:
        data: dict[str, Any] = native(name)
        if os.getpid() == session.pid and not _for_a_worker(sys._getframe(1)):
            handover = _handover(session, rewritten_copy)
            if handover is not None:
                data["tcstatic"] = handover
        return data

    spawn.get_preparation_data = get_preparation_data


def _handover(session: Session, rewritten_copy: bool) -> Handover | None:
    """Leave the plan in the job's folder for the child; None where that cannot be."""
    folder = session.job.folder(session.report)
    if folder is None:
        return None
    path = folder / "plan.json"
    try:
        if not path.exists():
            write_whole(path, dump(_movable(session)).encode(), private=True)
    except OSError:
        return None
    home = os.path.dirname(os.path.dirname(os.path.abspath(tcstatic.__file__)))
    text = _TAKE_OVER.format(
        home=home,
        folder=str(folder),
        command=session.calling.command,
        rewritten_copy=rewritten_copy,
    )
    return Handover(text)


def _movable(session: Session) -> ProbePlan:
    """The plan with nothing in it that depends on this process's folder, cache or environment."""
    plan, options = session.plan, session.calling.options
    files = (
        replace(file, code=whereabouts(file.code)) if file.code else file for file in plan.files
    )
    reports = tuple(map(str, session.job.reports))
    return replace(plan, files=tuple(files), options=replace(options, reports=reports))


def _for_a_worker(caller: FrameType) -> bool:
    """Whether the child that is being prepared is a worker of a DataLoader."""
    process = caller.f_locals.get("process_obj")
    return getattr(getattr(process, "_target", None), "__module__", "") == WORKERS


def _forked(session: Session, rewritten_copy: bool) -> None:
    signals.release()
    session.abandon()
    joining = functools.partial(_watch_if_it_joins, session, rewritten_copy)
    when_imported("torch.distributed.distributed_c10d", joining)


def _watch_if_it_joins(session: Session, rewritten_copy: bool) -> None:
    """A forked child is a rank, and watched afresh, if it joins a process group."""
    places: list[Any] = [
        sys.modules[name]
        for name in ("torch.distributed.distributed_c10d", "torch.distributed")
        if name in sys.modules
    ]
    native = places[0].init_process_group
    child = os.getpid()

    @functools.wraps(native)
    def init_process_group(*args: Any, **options: Any) -> Any:
        joined = native(*args, **options)
        for place in places:
            place.init_process_group = native
        if os.getpid() == child:
            from tcstatic.runtime.live.takeover import begin_again

            begin_again(session, rewritten_copy=rewritten_copy)
        return joined

    for place in places:
        place.init_process_group = init_process_group
