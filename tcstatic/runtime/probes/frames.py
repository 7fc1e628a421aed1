"""The local names of a function that is in progress, read without a trace."""

from __future__ import annotations

import inspect
import sys
from types import FrameType
from typing import Any, Final

_OURS: Final = 3  # references to a snapshot that nobody else has: the frame's, a name's, a call's


def names_in(frame: FrameType) -> dict[str, Any]:
    """Return the local names of a frame, with their values.

    Until Python 3.12 the frame of a function keeps the snapshot that is made for this, and every
    value in it alive until the function ends: it is emptied. It is what ``locals()`` returns, and
    what a debugger writes to: where either may have it, it stays.
    """
    names = frame.f_locals
    found = dict(names)
    snapshot = type(names) is dict and frame.f_code.co_flags & inspect.CO_OPTIMIZED
    if snapshot and sys.gettrace() is None and sys.getrefcount(names) <= _OURS:
        names.clear()
    return found
