"""Starts scripts with stand-ins for the monitors; the processes are real, and need no torch."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, final

from tcstatic.model import RunOptions
from tcstatic.runtime.live.planfile import dump
from tests.unit.live.standin import plan_for

Ended = subprocess.CompletedProcess[str]
SECONDS: Final = 300  # when a process hangs, on the slowest of machines


@final
class Launcher:
    """Writes files into a folder and runs them, with us or without."""

    def __init__(self, folder: Path, repo: Path) -> None:
        self.folder = folder
        self.plan = folder.parent / "plan.json"
        self.environment = {**os.environ, "PYTHONPATH": str(repo), "TMPDIR": str(folder.parent)}
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def write(self, **files: str) -> None:
        for name, text in files.items():
            path = self.folder / (name.replace("__in__", "/").replace("_dot_", ".") + ".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def command(
        self, *words: str, probed: dict[str, str] | None = None, **options: Any
    ) -> list[str]:
        """The command that watches a program; `probed` is the instrumented text of its files."""
        chosen = replace(RunOptions(quiet=True), **options)
        plan = plan_for(self.folder, probed or {}, chosen)
        self.plan.write_text(dump(plan), encoding="utf-8")
        return [sys.executable, "-m", "tests.unit.live.standin", str(self.plan), *words]

    def natively(self, *words: str, **how: Any) -> Ended:
        return self.run([sys.executable, *words], **how)

    def watched(
        self, *words: str, probed: dict[str, str] | None = None, stdin: str = "", **options: Any
    ) -> Ended:
        return self.run(self.command(*words, probed=probed, **options), stdin=stdin)

    def start(self, command: list[str], **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={**self.environment, **environment},
        )

    def signalled(self, command: list[str], signum: int) -> Ended:
        """Send a signal when the first line was printed; standard input stays open till the end."""
        with self.start(command) as started:
            try:
                assert started.stdout is not None and started.stderr is not None
                assert started.stdout.readline() == "ready\n"
                started.send_signal(signum)
                status = started.wait(SECONDS)
                return Ended(command, status, started.stdout.read(), started.stderr.read())
            finally:
                started.kill()

    def run(self, command: list[str], stdin: str = "") -> Ended:
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment,
            timeout=SECONDS,
            check=False,
        )


TRAIN = """
import atexit, sys
atexit.register(print, "at exit")
try:
    print("begin")
    try:
        x = 1
        x = 2
    except Exception:
        print("swallowed")
    print("end")
finally:
    print("cleaned up")
"""


def job() -> dict[str, str]:
    """What a launcher tells each rank of a job of two, which is no other test's."""
    return {"MASTER_PORT": str(time.time_ns()), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}


def probed(number: int, text: str = TRAIN) -> dict[str, str]:
    return {"train.py": text.replace("x = 1", f"x = _tcstatic.after({number}, 1)")}
