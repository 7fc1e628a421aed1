"""Our commands as a shell starts them: each in a new process, with nothing of these tests in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def tcstatic(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """How `tcstatic words...` ends."""
    return subprocess.run(
        [sys.executable, "-m", "tcstatic", *map(str, words)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def record(script: Path, trace: Path, *options: str | Path) -> None:
    """Record a run of a script, which must end as it should."""
    done = tcstatic("run", "--quiet", "--trace", trace, *options, script)
    assert done.returncode == 0, done.stderr
