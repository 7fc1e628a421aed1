"""A last word before SIGTERM and SIGHUP kill the process, where the user handles neither."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _thread
import contextlib
import os
import signal
import threading
import time
from types import FrameType
from typing import Final, final

from tcstatic.runtime.live.session import Session

SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)
# Judging takes milliseconds: a signal that arrives meanwhile is sent again after this pause.
AGAIN_SECONDS: Final = 0.05
# A launcher kills for good after 30 s: a main thread that is stuck in C code gets this long.
STUCK_SECONDS: Final = 3.0

# The end of our pipe that Python writes arriving signals to; None where there is no pipe.
_writing: int | None = None


@final
class LastWord:
    """A signal handler that users do not see: it equals SIG_DFL, and the process dies all the same.

    `signal.getsignal` looks its answer up by equality among the members of `signal.Handlers` (from
    Python 3.13 on, if the answer says it is an int), so it gives SIG_DFL for this object, and
    whoever puts that back, or puts a handler of his own, takes ours away.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return int

    def __eq__(self, other: object) -> bool:
        return self is other or other == signal.SIG_DFL.value

    def __hash__(self) -> int:
        return hash(signal.SIG_DFL.value)

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._session.pid:
            _die(signum)
        elif self._session.busy:
            _thread.start_new_thread(_again, (signum,))
        else:
            self.last_word(signum)
            _die(signum)

    def last_word(self, signum: int) -> None:
        with contextlib.suppress(Exception, KeyboardInterrupt):
            self._session.status = 128 + signum
            self._session.finish()


def install(session: Session) -> None:
    """Stand in for the default action of each signal; nothing where the user has his own."""
    if threading.current_thread() is not threading.main_thread():
        return
    handler = LastWord(session)
    for signum in SIGNALS:
        # The module `signal` would turn the handler into SIG_DFL.
        if _signal.getsignal(signum) is _signal.SIG_DFL or _ours(signum):
            _signal.signal(signum, handler)
    if not session.job.alone:
        _watch_for_a_stuck_main(handler)


def release() -> None:
    """Give the default actions back (in a forked child)."""
    for signum in SIGNALS:
        if _ours(signum):
            _signal.signal(signum, _signal.SIG_DFL)
    if _writing is not None:
        # The pipe is the parent's: it must not take the child's signals for its own.
        current = signal.set_wakeup_fd(-1)
        if current not in (-1, _writing):
            signal.set_wakeup_fd(current)


def _ours(signum: int) -> bool:
    return isinstance(_signal.getsignal(signum), LastWord)


def _watch_for_a_stuck_main(handler: LastWord) -> None:
    """A rank may wait in C code for one that is dead; no Python handler would ever run there."""
    global _writing
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    earlier = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    if earlier == -1:
        _writing = writing
        _thread.start_new_thread(_second_chance, (handler, reading))
    else:
        signal.set_wakeup_fd(earlier, warn_on_full_buffer=False)
        os.close(reading)
        os.close(writing)


def _second_chance(handler: LastWord, reading: int) -> None:
    while arrived := os.read(reading, 64):
        for signum in arrived:
            if signum in SIGNALS and _ours(signum):
                time.sleep(STUCK_SECONDS)
                if _ours(signum):
                    handler.last_word(signum)
                    _die_from_a_thread(signum)


def _again(signum: int) -> None:
    time.sleep(AGAIN_SECONDS)
    os.kill(os.getpid(), signum)


def _die(signum: int) -> None:
    _signal.signal(signum, _signal.SIG_DFL)
    os.kill(os.getpid(), signum)


def _die_from_a_thread(signum: int) -> None:
    # Python sets signal handlers from the main thread only, and that one is stuck.
    import ctypes

    ctypes.CDLL(None).signal(signum, None)
    os.kill(os.getpid(), signum)
