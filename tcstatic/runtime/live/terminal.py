"""Our lines on the user's stderr: whole, in one write, never an error."""

from __future__ import annotations

import os
import sys


def say(text: str) -> None:
    """Write the lines to the process's own stderr, whatever `sys.stderr` has become."""
    stream = sys.__stderr__
    if stream is None:
        return
    try:
        stream.flush()
        encoded = f"{text}\n".encode(stream.encoding or "utf-8", "backslashreplace")
        os.write(stream.fileno(), encoded)
    except (OSError, ValueError):
        # A closed or unusual stderr: the report has it all the same.
        return


def complain(text: str) -> None:
    """Write one line that is about tcstatic itself."""
    say(f"tcstatic: {text}")
