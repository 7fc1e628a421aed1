"""One watch per test, taken away at its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.probes.watching import Watched


@pytest.fixture
def watched() -> Iterator[Watched]:
    """A watch of every step."""
    seen = Watched()
    yield seen
    seen.watch.close()
