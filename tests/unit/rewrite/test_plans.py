"""Plans: a program's files, numbered sites, code in the cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcstatic.errors import InputError
from tcstatic.model import ProbePlan, RunOptions, Skipped
from tcstatic.rewrite import compile_plan
from tcstatic.runtime.live.codecache import fetch
from tcstatic.runtime.live.planfile import dump, load
from tests.unit.rewrite.passing import probes, ran


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TCSTATIC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write(root: Path, **files: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = root / (name.replace("__in__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root / "train.py"


def plan(script: Path, *include: str) -> ProbePlan:
    return compile_plan(script, script.parent, (), RunOptions(), include, scoped=False)


def test_sites_are_numbered_over_all_files(tmp_path: Path) -> None:
    script = write(
        tmp_path / "p", train="import lib\nopt.step()\n", lib="import no\nloss.backward()\n"
    )
    made = plan(script)
    assert made.root == str(tmp_path / "p")
    assert made.script == str(script)
    assert [(site.number, site.location.file) for site in made.sites] == [
        (1, "train.py"),
        (2, "train.py"),
        (3, "lib.py"),
        (4, "lib.py"),
    ]
    assert [file.path for file in made.files] == ["train.py", "lib.py"]
    assert load_again(made, tmp_path) == made


def load_again(made: ProbePlan, folder: Path) -> ProbePlan:
    (folder / "plan.json").write_text(dump(made), encoding="utf-8")
    return load(folder / "plan.json")


def test_the_cached_code_runs_and_names_the_original(tmp_path: Path) -> None:
    text = "class A:\n    def step(self): return 'stepped'\nopt = A()\nprint(opt.step())\n"
    script = write(tmp_path, train=text)
    (file,) = plan(script).files
    code = fetch(file.code)
    assert code.co_filename == str(script)
    with probes(built_in=True) as passing:
        assert ran(code, script).out == "stepped\n"
    assert [call[0] for call in passing.calls] == ["after", "on", "after"]


def test_a_file_without_sites_has_no_code(tmp_path: Path, cache: Path) -> None:
    (file,) = plan(write(tmp_path, train="x = 1\n")).files
    assert file.code == ""
    assert not (cache / "code").exists()


def test_the_cache_is_used_and_mended(tmp_path: Path, cache: Path) -> None:
    script = write(tmp_path, train="opt.step()\n")
    (file,) = plan(script).files
    entry = Path(file.code)
    assert entry.parent == cache / "code"
    before = entry.stat().st_ino
    assert plan(script).files == (file,)
    assert entry.stat().st_ino == before
    entry.write_bytes(b"damaged")
    assert plan(script).files == (file,)
    assert fetch(file.code).co_filename == str(script)


def test_the_cache_goes_by_content(tmp_path: Path) -> None:
    script = write(tmp_path, train="opt.step()\n")
    first = plan(script).files[0]
    script.write_text("opt.step()  # changed\n", encoding="utf-8")
    second = plan(script).files[0]
    assert first.code != second.code
    assert first.source_hash != second.source_hash


def test_what_cannot_be_rewritten_is_skipped_with_a_reason(tmp_path: Path) -> None:
    script = write(
        tmp_path,
        train="import broken, odd, done, fine\n",
        broken="def f(:\n",
        odd="\\\nopt.step()\n",
        done="_tcstatic.after(1, f())\n",
        fine="opt.step()\n",
    )
    made = plan(script)
    assert [file.path for file in made.files] == ["train.py", "fine.py"]
    assert sorted(made.skipped, key=lambda skipped: skipped.path) == [
        Skipped("broken.py", f"{tmp_path / 'broken.py'}:1: syntax error, got invalid syntax"),
        Skipped("done.py", "already instrumented"),
        Skipped("odd.py", "LibCST does not give it back byte for byte"),
    ]
    assert [site.number for site in made.sites] == [1, 2]


def test_a_script_with_a_syntax_error_is_planned_as_nothing(tmp_path: Path) -> None:
    made = plan(write(tmp_path, train="def f(:\n"))
    assert (made.files, made.sites) == ((), ())
    assert "syntax error" in made.skipped[0].reason


def test_names_come_through_own_modules(tmp_path: Path) -> None:
    script = write(
        tmp_path,
        train="from common import optim\no = optim.SGD(p)\n",
        common="from torch import optim",
    )
    assert [(site.kind, site.callee) for site in plan(script).sites] == [
        ("optimizer.new", "torch.optim.SGD")
    ]


def test_included_packages_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = write(tmp_path / "main", train="import pack\n")
    write(tmp_path / "lib", pack__in____init__="opt.step()", pack__in__plain="x = f(1)\n")
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    assert [file.path for file in plan(script).files] == ["train.py"]
    files = plan(script, "pack").files
    assert [file.path for file in files] == ["train.py", str(tmp_path / "lib/pack/__init__.py")]
    with pytest.raises(InputError, match="no such package"):
        plan(script, "no_such")
