"""Ranks that do not end alike: each ends as it does under `python`, and the report says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.ends import ENDS, drawn, wrong

pytestmark = [pytest.mark.slow, pytest.mark.distributed]


@pytest.mark.parametrize("what", ENDS)
def test_every_rank_ends_by_itself(what: str, tmp_path: Path) -> None:
    assert wrong(drawn(ENDS.index(what)), tmp_path) == []
