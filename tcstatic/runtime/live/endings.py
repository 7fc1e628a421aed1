"""How a program ends: as under ``python``, with the exit status that was asked for."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import NoReturn, final

import tcstatic
from tcstatic.runtime.live.session import Session

_OURS = os.path.dirname(os.path.abspath(tcstatic.__file__)) + os.sep
# What Python leaves in `sys` after an uncaught exception.
_LAST = ("last_type", "last_value", "last_traceback", "last_exc")[
    : 3 + (sys.version_info >= (3, 12))
]


@final
class Interrupted(BaseException):
    """Carries a KeyboardInterrupt that was already shown past whoever would answer it."""


def play(session: Session | None, body: Callable[[], object]) -> NoReturn:
    """Run the program, let the session finish, and leave as ``python`` would have."""
    error: BaseException | None = None
    # The program may go as deep as it could without our frames below it.
    sys.setrecursionlimit(sys.getrecursionlimit() + _depth())
    try:
        body()
    except BaseException as raised:
        error = raised
    if error is not None and not isinstance(error, SystemExit):
        error = _show(error)
    interrupted = isinstance(error, KeyboardInterrupt)
    status = 130 if interrupted else status_of(error)
    wanted = status
    if session is not None:
        session.status = status
        try:
            _finish(session)
        except KeyboardInterrupt:
            interrupted = True
        wanted = session.promised = session.final_status(status)
    if interrupted:
        _leave_by_interrupt()
    if isinstance(error, SystemExit) and wanted == status:
        # Python itself prints a message that was given to sys.exit().
        raise error.with_traceback(None)
    raise SystemExit(wanted)


def without_us(error: BaseException) -> BaseException:
    """Take our frames out of the tracebacks of an exception and of all that led to it."""
    for one in _chain(error):
        one.__traceback__ = _stripped(one.__traceback__)
    return error


def _depth() -> int:
    depth, frame = 0, sys._getframe(1)
    while (below := frame.f_back) is not None:
        depth, frame = depth + 1, below
    # `play` and `body` themselves; before 3.12 two calls of exec(), runpy's and ours, count too.
    return depth + (2 if sys.version_info >= (3, 12) else 4)


def _finish(session: Session) -> None:
    """Finish now, or at the very end where threads still run; they may still train."""
    others = [
        thread
        for thread in threading.enumerate()
        if thread is not threading.current_thread() and not thread.daemon
    ]
    if others:
        session.judge()
    else:
        session.finish()


def status_of(error: BaseException | None) -> int:
    """The exit status of a program that ends with this exception, or with none."""
    if error is None:
        return 0
    if not isinstance(error, SystemExit):
        return 1
    if error.code is None:
        return 0
    return error.code & 0xFF if isinstance(error.code, int) else 1


def _show(error: BaseException) -> BaseException:
    """Print an uncaught exception through `sys.excepthook`, as PyErr_Print does.

    Returns what the program ends with: the exception, or a SystemExit that the hook has raised.
    """
    without_us(error)
    kind, traceback = type(error), error.__traceback__
    sys.__dict__.update(zip(_LAST, (kind, error, traceback, error), strict=False))
    hook = getattr(sys, "excepthook", None)
    if hook is None:
        _write("sys.excepthook is missing\n")
        sys.__excepthook__(kind, error, traceback)
        return error
    try:
        hook(kind, error, traceback)
    except SystemExit as left:
        return left
    except BaseException as failure:
        without_us(failure)
        _write("Error in sys.excepthook:\n")
        failure.__context__ = None
        sys.__excepthook__(type(failure), failure, failure.__traceback__)
        _write("\nOriginal exception was:\n")
        sys.__excepthook__(kind, error, traceback)
    return error


def _write(text: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(text)


def _leave_by_interrupt() -> NoReturn:
    """End as ``python`` does after Ctrl-C: clean up, then die of SIGINT.

    The interpreter does so when code that was given to it as text ended by KeyboardInterrupt.
    """
    hook = getattr(sys, "excepthook", None)
    said = {name: getattr(sys, name) for name in _LAST if hasattr(sys, name)}

    def once(*_: object) -> None:
        if hook is None:
            del sys.excepthook
        else:
            sys.excepthook = hook
        sys.__dict__.update(said)

    sys.excepthook = once
    with contextlib.suppress(KeyboardInterrupt):
        exec("raise KeyboardInterrupt", {})
    raise Interrupted


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions


def _stripped(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and _ours(traceback):
        traceback = traceback.tb_next
    here = traceback
    while here is not None:
        while here.tb_next is not None and _ours(here.tb_next):
            here.tb_next = here.tb_next.tb_next
        here = here.tb_next
    return traceback


def _ours(traceback: TracebackType) -> bool:
    return traceback.tb_frame.f_code.co_filename.startswith(_OURS)
