"""What lies around a module: steps that clear, methods of classes, by their text."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcstatic.program.paths.surroundings import Surroundings, beginning

CLEARS = """\
class Wrapper:
    def __init__(self, inner): self.inner = inner
    def step({parameters}):
        {body}

    def clear(self):
        # what a step ends with

        self.inner.zero_grad(set_to_none=True)
"""


def around(folder: Path, **files: str) -> Surroundings:
    for name, text in files.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Surroundings(folder, folder, Path.read_bytes)


@pytest.mark.parametrize(
    ("parameters", "body", "clears"),
    [
        ("self", "self.inner.step(); self.inner.zero_grad()", True),
        ("self", "self.inner.step()\n        self.clear()", True),
        ("self, closure: Callable[[], float] | None = None", "self.clear()", True),
        ("self, *args, **kwargs", "for p in self.all: p.grad = None", True),
        ("self", "self.inner.step()", False),
        ("self, batch", "self.clear()", False),
        ("self", "self.clear(); self.loss().backward(); self.inner.step()", False),
        ("inner", "inner.zero_grad()", False),
    ],
)
def test_a_step_that_clears(tmp_path: Path, parameters: str, body: str, clears: bool) -> None:
    text = CLEARS.format(parameters=parameters, body=body)
    assert around(tmp_path, package__wrapper=text).steps_clear is clears


def test_a_step_that_clears_by_what_another_class_fills_in(tmp_path: Path) -> None:
    base = "class Base:\n    def step(self):\n        self.inner.step()\n        self.after()\n"
    derived = "class Derived(Base):\n    def after(self):\n        self.inner.zero_grad()\n"
    assert not around(tmp_path, base=base).steps_clear
    assert around(tmp_path, base=base, derived=derived).steps_clear


def test_methods_that_are_defined(tmp_path: Path) -> None:
    text = "class A:\n    def clip(self, most): ...\ndef clamp(x): ...\n    def detach(x): ...\n"
    found = around(tmp_path, a=text)
    assert [found.defines(name) for name in ("clip", "clamp", "detach")] == [True, False, False]


def test_where_a_program_begins(tmp_path: Path) -> None:
    for name in ("lib/a/b/__init__.py", "lib/a/__init__.py", "scripts/run.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert beginning(tmp_path / "lib/a/b/x.py", tmp_path) == tmp_path / "lib/a"
    assert beginning(tmp_path / "scripts/run.py", tmp_path) == tmp_path
    assert beginning(tmp_path / "run.py", tmp_path) == tmp_path


def test_what_mentions_a_package_belongs_to_it(tmp_path: Path) -> None:
    text = CLEARS.format(parameters="self", body="self.clear()")
    around(tmp_path, lib____init__="", lib__engine="", scripts__other=text)
    assert not Surroundings(tmp_path / "lib", tmp_path, Path.read_bytes).steps_clear
    around(tmp_path, scripts__other="import lib\n" + text)
    assert Surroundings(tmp_path / "lib", tmp_path, Path.read_bytes).steps_clear
