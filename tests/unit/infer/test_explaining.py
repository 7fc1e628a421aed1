"""`--why`: what a person reads of the observations behind a precondition."""

from __future__ import annotations

import pytest

from tcstatic.errors import InputError
from tcstatic.infer import Wanted
from tcstatic.infer.session import Lesson, lesson
from tests.unit.infer.runs import healthy


@pytest.fixture(scope="module")
def learnt() -> Lesson:
    runs = {"first": healthy(16), "second": healthy(16, model="Other")}
    return lesson({name: (lambda one=one: one) for name, one in runs.items()}, Wanted())


def code_of(learnt: Lesson, **params: object) -> str:
    (code,) = [
        one.code
        for one in learnt.merged.learnt
        if all(one.params.get(name) == value for name, value in params.items())
    ]
    return code


def test_it_tells_what_was_kept_and_what_excludes_failures(learnt: Lesson) -> None:
    code = code_of(learnt, value="training", **{"is": True})
    text = learnt.why(code)
    assert text.startswith(f"{code} (result): training of model.forward is True\n")
    kept = "kept, where it held and the precondition applies: 32 times, in 2 contexts of 2 runs"
    assert kept in text
    assert "excluded, where it failed: 8 times, in 2 contexts of 2 runs" in text
    assert "  8x in first, second, as at train.py:23 (model.forward in first, step 16)\n" in text
    assert "excluded by grad_enabled: grad_enabled=False" in text
    assert "the precondition: proved" in text and "stage == 'train'" in text


def test_it_is_plain_text(learnt: Lesson) -> None:
    for one in learnt.merged.learnt:
        text = learnt.why(one.code)
        assert text.isascii() and text.endswith("\n") and "\x1b" not in text


def test_what_failed_nowhere_is_said_so(learnt: Lesson) -> None:
    text = learnt.why(code_of(learnt, value="finite"))
    assert "It failed nowhere" in text and "excluded" not in text


def test_an_unknown_code_is_told(learnt: Lesson) -> None:
    with pytest.raises(InputError, match=r"code 'INF999' was learnt .* one of INF001 to INF"):
        learnt.why("INF999")
