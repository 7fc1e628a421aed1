"""One text through lint in this process: what comes of it, and how long it takes."""

from __future__ import annotations

import functools
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, final

from tcstatic.errors import InputError
from tcstatic.lint.analysis import Analyser
from tcstatic.model import Invariant
from tcstatic.pipeline import Request, load_invariants

# CPU seconds that one file may take, and after how many it is not waited for any more.
LIMIT: Final = 2.0
PATIENCE: Final = 10.0
FOLDER: Final = Path("/nowhere/at/all")


@final
@dataclass(frozen=True, slots=True)
class Outcome:
    """`status` is analysed, refused (no Python), too deep, or what went wrong with `detail`."""

    status: str
    seconds: float
    detail: str = ""

    @property
    def bad(self) -> bool:
        return self.status in ("crash", "hang", "slow")


class Hang(BaseException):
    """The file took too long; no handler of errors may swallow it."""


@functools.cache
def rules() -> Sequence[Invariant]:
    """Return the invariants that lint decides."""
    return tuple(one for one in load_invariants(Request("", "")) if "lint" in one.feeds)


def lint_text(source: bytes) -> Outcome:
    """Analyse a text as a file of its own, with all rules."""
    path = FOLDER / "generated.py"
    analyser = Analyser(FOLDER, rules(), {path: source})
    # A timer of CPU time: a busy machine makes no file slow.
    before = signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)
    started = time.process_time()
    status, detail = "analysed", ""
    try:
        analyser.analyse(path)
    except InputError:
        status = "refused"
    except RecursionError:
        status = "too deep"
    except Hang:
        status = "hang"
    except Exception as error:
        status, detail = "crash", _where(error)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    seconds = time.process_time() - started
    if status == "analysed" and seconds > LIMIT:
        status = "slow"
    return Outcome(status, seconds, detail)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Hang


def _where(error: Exception) -> str:
    """Return the error and where it was raised: crashes of one cause read the same."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    place = f"{Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno}" if last else "?"
    return f"{place}: {type(error).__name__}: {error}"[:200]
