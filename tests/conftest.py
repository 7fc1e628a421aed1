"""What every test shares: the repository, one thread a process, signals, known properties."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Children inherit this: a test starts many small torch processes, and two cores are all there is.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a shell starts in the background, or under nohup, ignores these, and so would every child.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for ending in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
    if signal.getsignal(ending) == signal.SIG_IGN:
        signal.signal(ending, signal.SIG_DFL)

settings.register_profile(
    "tcstatic",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tcstatic")


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root folder of the repository."""
    return Path(__file__).resolve().parents[1]
