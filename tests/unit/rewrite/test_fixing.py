"""Edits put into text: nothing else changes, and what gets in the way of another is left out."""

from __future__ import annotations

import pytest

from tcstatic.model import Edit, Fix
from tcstatic.rewrite.fixing import apply_fixes

TEXT = "x = 1  # one\r\ny = f(x)\r\n"


def fix(*edits: tuple[int, int, int, int, str], file: str = "a.py") -> Fix:
    return Fix("t", True, tuple(Edit(file, *edit) for edit in edits))


def applied(text: str | bytes, *fixes: Fix) -> tuple[str | bytes, int]:
    source = text.encode() if isinstance(text, str) else text
    found = apply_fixes(source, fixes, "a.py")
    return (found.content.decode() if isinstance(text, str) else found.content), len(found.used)


def test_edits_change_nothing_else() -> None:
    changed, used = applied(TEXT, fix((2, 5, 2, 9, "g(x, 'é')"), (1, 5, 1, 6, "22")))
    assert (changed, used) == ("x = 22  # one\r\ny = g(x, 'é')\r\n", 1)


def test_the_later_of_two_that_overlap_waits() -> None:
    first, second = fix((1, 5, 1, 6, "2")), fix((1, 1, 1, 6, "z = 3"))
    assert applied(TEXT, first, second) == (TEXT.replace("1  #", "2  #"), 1)
    assert applied(TEXT, second, first)[1] == 1
    assert applied(TEXT, fix((2, 1, 2, 1, "a\r\n")), fix((2, 1, 2, 1, "b\r\n")))[1] == 1


def test_equal_edits_are_made_once() -> None:
    top = (1, 1, 1, 1, "import copy\r\n")
    changed, used = applied(TEXT, fix(top, (1, 5, 1, 6, "2")), fix(top, (2, 7, 2, 8, "z")))
    assert (changed, used) == ("import copy\r\nx = 2  # one\r\ny = f(z)\r\n", 2)


@pytest.mark.parametrize(
    "bad",
    [
        fix((1, 5, 1, 6, "(")),
        fix((9, 1, 9, 1, "z")),
        fix((2, 5, 1, 1, "z")),
        fix((1, 1, 2, 1, "x = 1\r\n"), file="b.py"),
    ],
)
def test_what_does_no_good_is_left_out(bad: Fix) -> None:
    assert applied(TEXT, bad) == (TEXT, 0)


def test_a_comment_goes_only_where_it_is_meant() -> None:
    assert applied(TEXT, fix((1, 6, 1, 13, ""))) == ("x = 1\r\ny = f(x)\r\n", 1)
    hidden = fix((1, 1, 1, 1, "'''"), (2, 9, 2, 9, "'''"))
    assert applied(TEXT, hidden) == (TEXT, 0)
    both = "x = 1  # a\ny = 2  # b\n"
    assert applied(both, fix((1, 6, 1, 11, "")), fix((2, 6, 2, 11, ""))) == ("x = 1\ny = 2\n", 2)


def test_encodings_stay() -> None:
    latin = "# coding: latin-1\nx = 'é'\n".encode("latin-1")
    assert applied(latin, fix((2, 6, 2, 7, "èé"))) == (latin.replace(b"\xe9", b"\xe8\xe9"), 1)
    assert applied("\ufeffx = 1\n", fix((1, 5, 1, 6, "2"))) == ("\ufeffx = 2\n", 1)


def test_what_is_no_python_stays() -> None:
    assert applied("def f(:\n", fix((1, 1, 1, 1, "x"))) == ("def f(:\n", 0)
    assert applied(b"\xff", fix((1, 1, 1, 1, "x"))) == (b"\xff", 0)
