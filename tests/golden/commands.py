"""Our commands as a shell starts them: each in a new process, with nothing of these tests in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
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


def cost(words: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> float:
    """The time of the processor that a command takes, which must end with 0: how many times as long
    as importing click does. So it is the same on slow machines, and on busy ones."""
    importing = [sys.executable, "-c", "import click"]
    return _processor_seconds(words, cwd, environment) / _processor_seconds(
        importing, cwd, environment
    )


def _processor_seconds(words: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> float:
    with subprocess.Popen(
        words, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_utime + used.ru_stime


def record(script: Path, trace: Path, *options: str | Path) -> None:
    """Record a run of a script, which must end as it should."""
    done = tcstatic("run", "--quiet", "--trace", trace, *options, script)
    assert done.returncode == 0, done.stderr
