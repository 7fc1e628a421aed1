"""Each program does the same as it is, as `run` executes it, and as a copy of its text."""

from __future__ import annotations

import pytest

from tcstatic.model import Failed, Location, Rewritten, Site, Skipped, Unchanged
from tcstatic.program.source import decode
from tcstatic.rewrite import instrument
from tests.unit.rewrite.passing import PATH, everywhere, rewritten, source_of, three_ways
from tests.unit.rewrite.programs import BYTES, PROGRAMS

SOURCES = {name: source_of(text) for name, text in PROGRAMS.items()} | BYTES


@pytest.mark.parametrize("name", SOURCES)
def test_the_program_does_the_same(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("program") / PATH
    path.write_bytes(SOURCES[name])
    original, as_run, as_copy, passing = three_ways(SOURCES[name], path)
    assert "SyntaxError" not in original.error
    assert as_run == original
    assert (as_copy.out, as_copy.warned, as_copy.names) == (
        original.out,
        original.warned,
        original.names,
    )
    outcome = everywhere(SOURCES[name])
    if isinstance(outcome, Rewritten):
        assert outcome.insertions > 0
        assert passing.calls


@pytest.mark.parametrize("name", SOURCES)
def test_the_text_keeps_its_lines(name: str) -> None:
    outcome = everywhere(SOURCES[name])
    if not isinstance(outcome, Rewritten):
        assert outcome == Unchanged(str(PATH))
        return
    before, after = (
        decode(SOURCES[name]),
        decode(outcome.text.encode(decode(SOURCES[name]).encoding)),
    )
    assert len(after.lines) == len(before.lines)
    for old, new in zip(before.lines, after.lines, strict=True):
        assert old[: len(old) - len(old.lstrip())] == new[: len(new) - len(new.lstrip())]
        assert new.rpartition("#")[2] == old.rpartition("#")[2] or "#" not in old


@pytest.mark.parametrize("name", SOURCES)
def test_a_rewritten_text_is_left_alone(name: str) -> None:
    outcome = everywhere(SOURCES[name])
    if isinstance(outcome, Rewritten):
        again = everywhere(decode(SOURCES[name]).encode(outcome.text))
        assert again == Skipped(str(PATH), "already instrumented")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import os\nf(x)\n", "import os; import _tcstatic\n_tcstatic.after(1, f(x))\n"),
        ("f(x)\n", "import _tcstatic; _tcstatic.after(1, f(x))\n"),
        ('"""D."""\nf(x)\n', '"""D."""; import _tcstatic\n_tcstatic.after(1, f(x))\n'),
        (
            "if f(x): pass\nimport os\ng()\n",
            'if __import__("_tcstatic").after(1, f(x)): pass\nimport os; import _tcstatic\n'
            "_tcstatic.after(2, g())\n",
        ),
        ("import os;  # c\nf()\n", "import os; import _tcstatic  # c\n_tcstatic.after(1, f())\n"),
        (
            "import os\no.step()\n",
            "import os; import _tcstatic\n_tcstatic.after(2, _tcstatic.on(1, o).step())\n",
        ),
        ("import os\nm.fc = x\n", "import os; import _tcstatic\n_tcstatic.target(1, m).fc = x\n"),
        (
            "import os\nfor b in d: pass\n",
            "import os; import _tcstatic\nfor b in _tcstatic.loop(1, d): pass\n",
        ),
        (
            "import os\nfor b in a, c: pass\n",
            "import os; import _tcstatic\nfor b in _tcstatic.loop(1, (a, c)): pass\n",
        ),
        (
            "import os\nfor b in[c]: pass\n",
            "import os; import _tcstatic\nfor b in(_tcstatic.loop(1, [c])): pass\n",
        ),
        (
            "import os\n(yield_).x()\n",
            "import os; import _tcstatic\n_tcstatic.after(2, (_tcstatic.on(1, yield_)).x())\n",
        ),
    ],
)
def test_what_is_written(text: str, expected: str) -> None:
    assert rewritten(text.encode()).text == expected


def test_a_field_that_prints_its_source_is_left_alone() -> None:
    text = 'import os\nprint(f"{f(1)=} {g(2)}")\n'
    assert "{f(1)=} {_tcstatic.after(" in rewritten(text.encode()).text


@pytest.mark.parametrize("depth", [500, 3000])
def test_deep_nesting_is_an_outcome(depth: int) -> None:
    source = ("x = f()" + " + g()" * depth + "\n").encode()
    site = Site(1, "after", "call", Location(str(PATH), 1, 5, 1, 8))
    outcome = instrument(PATH, source, [site])
    assert isinstance(outcome, Failed | Skipped | Rewritten)
    if isinstance(outcome, Skipped):
        assert "nested too deeply" in outcome.reason


def test_a_site_that_is_not_there_fails() -> None:
    site = Site(1, "after", "call", Location(str(PATH), 1, 5, 1, 9))
    outcome = instrument(PATH, b"x = f()\n", [site])
    assert outcome == Failed(str(PATH), "LookupError: no after site in line 1")


def test_no_site_is_no_change() -> None:
    assert everywhere(b"x = 1\nimport os\n") == Unchanged(str(PATH))


def test_a_file_that_libcst_does_not_give_back_is_skipped() -> None:
    outcome = everywhere(b"\\\nf()\n")
    assert outcome == Skipped(str(PATH), "LibCST does not give it back byte for byte")


def test_a_file_that_libcst_cannot_read_is_skipped() -> None:
    outcome = everywhere(b"class A(k=f(), *b): pass\n")
    assert outcome == Skipped(str(PATH), "LibCST cannot read program.py:1")
