"""Work that no signal handler may break in two: it runs when the work is done."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import TypeVar

_Thing = TypeVar("_Thing")


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Put off the Python handlers of all signals until the end of the block.

    A handler runs between any two operations of the main thread, and may raise (Ctrl-C) or come
    back to what is half done; elsewhere none runs, and nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {
        number: handler
        for number in signal.valid_signals()
        if callable(handler := signal.getsignal(number))
    }
    waiting: dict[int, None] = {}

    def wait(number: int, frame: FrameType | None) -> None:
        waiting[number] = None

    try:
        for number in handlers:
            signal.signal(number, wait)
        yield
    finally:
        raised = _each(lambda one: signal.signal(*one), handlers.items(), again=True)
        raised = _each(signal.raise_signal, waiting, again=False) or raised
        if raised is not None:
            raise raised


def _each(
    work: Callable[[_Thing], object], things: Iterable[_Thing], *, again: bool
) -> BaseException | None:
    """Do work for each thing, whatever a handler raises meanwhile; return what was raised first.

    `again`: work that was broken off is done once more.
    """
    raised: BaseException | None = None
    left = list(things)
    while left:
        try:
            while left:
                one = left[-1] if again else left.pop()
                work(one)
                if again:
                    left.pop()
        except BaseException as error:
            raised = raised or error
    return raised
