"""What every test shares: the repository, one thread a process, reproducible properties."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Children inherit this: a test starts many small torch processes, and two cores are all there is.
os.environ.setdefault("OMP_NUM_THREADS", "1")

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
