"""A value under `that` is of the type that its key has; what is not is told with its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tcstatic.invariants.relations import check_params
from tcstatic.invariants.rules import load_rules

# One of each relation, and a key of it that is text.
GOOD: dict[str, tuple[dict[str, Any], str]] = {
    "order": (
        {
            "existence": "optimizer.zero_grad",
            "between": ["optimizer.step", "loss.backward"],
            "same": "optimizer",
        },
        "same",
    ),
    "effect": ({"call": "optimizer.step", "changes": "param.data", "over": "trainable"}, "over"),
    "equal": ({"state": "param.data", "over": "rank"}, "over"),
    "argument": ({"of": "call dropout", "argument": "training", "equals": True}, "argument"),
    "result": ({"of": "optimizer.step", "value": "ok", "is": True, "since": "first"}, "since"),
    "member": ({"of": "used", "within": "held", "at": "optimizer.step"}, "within"),
    "count": ({"of": "lr", "at": "optimizer.step", "at_least": 1}, "of"),
    "flow": ({"from": ["torch.softmax"], "into": ["cross_entropy.input"]}, ""),
}
ODD = [3, float("nan"), True, None, [], ["a"], {"a": 1}]


@pytest.mark.parametrize("relation", GOOD)
def test_a_key_that_is_text(relation: str) -> None:
    params, key = GOOD[relation]
    check_params(relation, params)
    for odd in ODD if key else ():
        with pytest.raises(ValueError, match=f"^{key}: expected text, got "):
            check_params(relation, {**params, key: odd})


@pytest.mark.parametrize(
    ("relation", "key", "odd", "said"),
    [
        ("flow", "from", [["a"]], "from: expected a list of texts"),
        ("flow", "into", ["a.b", 3], "into: expected a list of texts"),
        ("order", "between", "optimizer.step", "between: expected a list of texts"),
        ("argument", "equals", [1], "equals: expected text, a number, true, false or null"),
        ("result", "is", float("nan"), "is: expected text, a number, true, false or null"),
        ("result", "each", 1, "each: expected true or false"),
        ("count", "at_least", float("nan"), "at_least: expected a number"),
        ("count", "at_least", True, "a whole number"),
    ],
)
def test_other_keys(relation: str, key: str, odd: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_params(relation, {**GOOD[relation][0], key: odd})


def test_what_is_told_has_the_line_of_the_key(tmp_path: Path) -> None:
    path = tmp_path / "rule.yaml"
    path.write_text(
        "code: ABC101\nname: some\nrelation: order\nthat:\n  absence: model.new\n"
        "  between: [optimizer.step, loss.backward]\n  same: [optimizer]\n"
        "severity: error\nmessage: m\nwhy: w\ncure: c\n"
    )
    with pytest.raises(ValueError, match="expected text, got"):
        check_params("order", {**GOOD["order"][0], "same": ["optimizer"]})
    with pytest.raises(Exception, match=r"rule\.yaml:7: same: expected text, got \['optimizer'\]"):
        load_rules([path], schema=check_params)
