"""One rank of two is disturbed by nothing that its source shows: that rank is named."""

from __future__ import annotations

import pytest

from tests.benchmarks.ranks import Fault, findings, judged

pytestmark = [pytest.mark.slow, pytest.mark.distributed]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("ddp", "weight", 4, 0, "0.weight"),
        Fault("ddp", "gradient", 2, 0, "3.weight"),
        Fault("ddp", "rate", 5, 0, "0.bias"),
        Fault("ddp", "state", 3, 0, "3.bias"),
        Fault("by_hand", "state", 2, 0, "0.bias"),  # the count of steps
    ],
    ids=str,
)
def test_the_rank_is_named_that_was_disturbed(fault: Fault) -> None:
    found, parameter, rank = judged(fault, findings(fault.workload, fault))
    assert (found, parameter, rank) == (True, True, True)


def test_a_gradient_that_is_averaged_by_hand() -> None:
    fault = Fault("by_hand", "gradient", 1, 1, "0.bias")
    [finding] = findings(fault.workload, fault)
    assert (finding["code"], finding["step"]) == ("TCS501", 1)
    assert "0.bias " in finding["message"] and "in other steps" in finding["message"]
