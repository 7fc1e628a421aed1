"""Layouts of ranks."""

from __future__ import annotations

import pytest

from tcstatic.model import Mesh
from tcstatic.model.meshes import COPIES, LAYERS, PARTS


def test_the_last_axis_varies_fastest() -> None:
    mesh = Mesh.from_text("data=2, shard=2,TP=3")
    assert mesh.axes == (("data", 2), ("shard", 2), ("tp", 3))
    assert mesh.world == 12
    assert mesh.peers(7, COPIES) == (1, 7)
    assert mesh.peers(7, LAYERS) == (6, 7, 8)
    assert mesh.peers(7, PARTS) == (7, 10)
    assert mesh.peers(0, COPIES | LAYERS | PARTS) == tuple(range(12))
    assert mesh.peers(5, ()) == (5,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data", "no NAME=RANKS"),
        ("data=0", "no NAME=RANKS"),
        ("data=2,", "no NAME=RANKS"),
        ("data=2 tensor=2", "no NAME=RANKS"),
        ("width=2", "no axis is called 'width'"),
        ("data=2,data=2", "named twice"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Mesh.from_text(text)
