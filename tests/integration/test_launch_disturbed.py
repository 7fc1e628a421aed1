"""One rank of two is disturbed by nothing that its source shows: that rank is named."""

from __future__ import annotations

import pytest

from tests.benchmarks.ranks import FOLDER, Fault, findings, judged

pytestmark = [pytest.mark.slow, pytest.mark.distributed]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("ddp", "weight", 4, 0, "0.weight"),
        Fault("ddp", "gradient", 2, 0, "3.weight"),
        Fault("ddp", "rate", 5, 0, "0.bias"),
        Fault("ddp", "state", 3, 0, "3.bias"),
        Fault("by_hand", "state", 2, 0, "0.bias"),  # the count of steps
        Fault("ways", "result", 9, 0, ""),  # between backwards that no other rank has
    ],
    ids=str,
)
def test_the_rank_is_named_that_was_disturbed(fault: Fault) -> None:
    found, parameter, rank = judged(fault, findings(fault.workload, fault))
    assert (found, parameter, rank) == (True, True, True)


def test_copies_on_two_by_two_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIP_APART", "5")
    [finding] = findings("bloom", None, world=4)
    assert (finding["code"], finding["step"], finding["rank"]) == ("TCS501", 5, 0)
    assert "word_embeddings.weight " in finding["message"]
    assert "only ranks 0, 2 pass line" in finding["message"]
    line = (FOLDER / "bloom.py").read_text(encoding="utf-8").splitlines()[finding["line"] - 1]
    assert "clip_grads_with_norm_(" in line


def test_a_gradient_that_is_averaged_by_hand() -> None:
    fault = Fault("by_hand", "gradient", 1, 1, "0.bias")
    [finding] = findings(fault.workload, fault)
    assert (finding["code"], finding["step"]) == ("TCS501", 1)
    assert "0.bias " in finding["message"] and "in other steps" in finding["message"]
