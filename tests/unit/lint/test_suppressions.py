"""Comments that silence: where they hold, and which of them are useless."""

from __future__ import annotations

import pytest

from tcstatic.program.source import suppressions_in
from tests.unit.lint.projects import BAD, GOOD, Folder

STEP = "    optimizer.step()\n"


def spans(text: str) -> list[tuple[str, tuple[str, ...], int, int]]:
    found = suppressions_in(text.encode(), "train.py")
    return [(one.kind, one.words, one.first, one.last) for one in found]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x = 1  # noqa", [("noqa", (), 1, 1)]),
        ("x = 1  # NOQA : tcs112, E501", [("noqa", ("TCS112", "E501"), 1, 1)]),
        ("x = 1  # noqa: TCS112 on purpose", [("noqa", ("TCS112",), 1, 1)]),
        ("x = 1  # type: ignore  # noqa:TCS112,TCS113", [("noqa", ("TCS112", "TCS113"), 1, 1)]),
        ("x = '# noqa: TCS112'", []),
        ('"""\n# noqa: TCS112\n"""', []),
        ("# noqa: TCS112\nx = 1", []),
        ("x = 1  # noqattention", []),
        ("f(\n  1,  # noqa: TCS112\n)", [("noqa", ("TCS112",), 2, 2)]),
        ("y\nf(\n  1,\n)  # noqa: TCS112", [("noqa", ("TCS112",), 2, 4)]),
        ("x = 1  # tcstatic: allow clip-loss", [("allow", ("clip-loss",), 1, 1)]),
        ("x = 1  #tcstatic:allow a-b, TCS1 why not", [("allow", ("a-b", "TCS1"), 1, 1)]),
        ("x = 1  # tcstatic: allow", [("allow", (), 1, 1)]),
        ("# tcstatic: allow a-b\nx = 1\ny = 2", [("allow", ("a-b",), 1, 3)]),
        ('"""Doc."""\n# tcstatic: allow a-b\nx = 1\ny = 2', [("allow", ("a-b",), 1, 4)]),
        ("x = 1\n# tcstatic: allow a-b\ny = f(\n 1)\nz = 1", [("allow", ("a-b",), 3, 4)]),
        ("x = 1\n# tcstatic: allow a-b", [("allow", ("a-b",), 2, 2)]),
        ("def f(:  # noqa: TCS112", []),
        ("'", []),
    ],
)
def test_where_a_comment_holds(
    text: str, found: list[tuple[str, tuple[str, ...], int, int]]
) -> None:
    assert spans(text) == found


@pytest.mark.parametrize(
    "comment",
    ["# noqa", "# noqa: TCS112", "# noqa: E501, TCS112", "# tcstatic: allow TCS112"]
    + ["# tcstatic: allow gradients-not-cleared", "# tcstatic: allow gradients-not-cleared (why)"],
)
def test_a_line_is_silenced(folder: Folder, comment: str) -> None:
    folder.write(train=BAD.replace(STEP, f"    optimizer.step()  {comment}\n"))
    found = folder.lint()
    assert (found.status, found.lines) == (0, ["no finding in 1 file, 1 silenced by comments"])


def test_a_file_is_silenced(folder: Folder) -> None:
    folder.write(train=f'"""Doc."""\n# tcstatic: allow gradients-not-cleared: a study\n{BAD}')
    assert folder.places() == []


@pytest.mark.parametrize(
    ("comment", "reason"),
    [
        ("# noqa: TCS112", "TCS112 gradients-not-cleared is not found there"),
        ("# noqa: TCS9", "there is no rule 'TCS9'; did you mean "),
        ("# tcstatic: allow gradients-cleared", "there is no rule 'gradients-cleared'; did you"),
        ("# tcstatic: allow", "it names no rule"),
    ],
)
def test_a_useless_comment_is_told(folder: Folder, comment: str, reason: str) -> None:
    folder.write(train=GOOD.replace(STEP, f"    optimizer.step()  {comment}\n"))
    found = folder.lint("--output-format", "json")
    (one,) = found.report["findings"]
    assert (found.status, one["code"], one["severity"]) == (1, "TCS001", "warning")
    assert (one["line"], one["column"]) == (8, 23)
    assert reason in one["message"]


def test_what_is_not_useless(folder: Folder) -> None:
    folder.write(
        bare=GOOD.replace(STEP, "    optimizer.step()  # noqa\n"),
        others=GOOD.replace(STEP, "    optimizer.step()  # noqa: E501, SIM102\n"),
        run=GOOD.replace(STEP, "    optimizer.step()  # tcstatic: allow loss-not-finite\n"),
    )
    assert folder.places() == []
    folder.write(one=GOOD.replace(STEP, "    optimizer.step()  # noqa: TCS112\n"))
    assert folder.places() == ["one.py:8 TCS001"]
    assert folder.places("--ignore", "TCS112") == []
    assert folder.places("--ignore", "useless-suppression") == []


def test_a_useless_comment_is_removed(folder: Folder) -> None:
    bad = BAD.replace(STEP, "    optimizer.step()  # noqa: TCS112, TCS113\n")
    text = f"import os  # noqa: F401, TCS112\nx = 1  # noqa: TCS112\n# tcstatic: allow x-y\n{bad}"
    folder.write(train=text)
    found = folder.lint("--fix")
    assert found.status == 0
    expected = bad.replace(", TCS113", "")
    assert folder.text("train.py") == f"import os  # noqa: F401\nx = 1\n{expected}"
