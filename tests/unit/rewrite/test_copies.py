"""Instrumented copies: whole, runnable by plain Python, and never over somebody's files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tcstatic.errors import InputError
from tcstatic.model import RunOptions
from tcstatic.rewrite import compile_plan, copies, write_copy
from tcstatic.runtime.live.planfile import load

SCRIPT = '''\
"""A script."""
import sys
from lib import helper

class Optimizer:
    def step(self): return helper.run()

if __name__ == "__main__":
    print(Optimizer().step(), open(sys.path[0] + "/data.txt").read(), len(sys.argv))
'''


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TCSTATIC_CACHE", str(tmp_path / "cache"))
    files = {
        "train.py": SCRIPT.encode(),
        "lib/__init__.py": b"",
        "lib/helper.py": "# coding: latin-1\r\ndef run():\r\n    return model_()\r\n"
        "def model_(): return 'é'\r\n".encode("latin-1"),
        "unused.py": b"other.step()\n",
        "data.txt": b"data",
        "big.bin": b"0" * 200,
        ".git/config": b"",
        "venv/pyvenv.cfg": b"",
        "venv/module.py": b"",
        "__pycache__/x.pyc": b"",
    }
    for name, content in files.items():
        path = tmp_path / "program" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "program/train.py"


def copy(script: Path, folder: Path) -> None:
    write_copy(compile_plan(script, script.parent, (), RunOptions()), folder)


def files_in(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def run_plain(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a copy with a Python that has no tcstatic."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-S", "train.py", "a"],
        cwd=folder,
        env={**environment, "PYTHONIOENCODING": "utf-8", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


def test_a_copy_holds_the_program_and_its_plan(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "LARGEST_BYTES", 100)
    out = tmp_path / "out"
    copy(script, out)
    assert files_in(out) == [
        "_tcstatic.py",
        "data.txt",
        "lib/__init__.py",
        "lib/helper.py",
        "plan.json",
        "train.py",
        "unused.py",
    ]
    plan = load(out / "plan.json")
    assert (plan.root, plan.script) == (str(out), str(out / "train.py"))
    assert [file.code for file in plan.files] == ["", "", ""]
    assert '"""A script."""; import _tcstatic\n' in (out / "train.py").read_text(encoding="utf-8")
    helper = (out / "lib/helper.py").read_bytes()
    assert (
        helper.startswith(b"# coding: latin-1\r\ndef run():\r\n")
        and "é".encode("latin-1") in helper
    )
    assert (out / "unused.py").read_bytes() == b"other.step()\n"


def test_without_tcstatic_one_line_is_printed_and_the_script_runs(
    script: Path, tmp_path: Path
) -> None:
    copy(script, tmp_path / "out")
    ran = run_plain(tmp_path / "out")
    assert (ran.stdout, ran.returncode) == ("é data 2\n", 0)
    assert ran.stderr == "tcstatic: this run is not watched (No module named 'tcstatic')\n"


def test_a_copy_is_replaced_but_for_what_the_user_put_there(script: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    copy(script, out)
    (out / "checkpoint.pt").write_bytes(b"mine")
    script.with_name("lib").joinpath("helper.py").rename(script.with_name("other.py"))
    script.write_text("import other\nopt.step()\n", encoding="utf-8")
    copy(script, out)
    assert "lib/helper.py" not in files_in(out)
    assert {"checkpoint.pt", "other.py"} <= set(files_in(out))


def test_somebody_elses_folder_is_refused(script: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="out: the folder is not empty"):
        copy(script, out)
    assert files_in(out) == ["notes.txt"]
    with pytest.raises(InputError, match="the folder is not empty"):
        copy(script, script.parent)
    with pytest.raises(InputError, match="not a folder"):
        copy(script, out / "notes.txt")


def test_a_copy_within_the_script_folder_does_not_hold_itself(script: Path) -> None:
    for _ in range(2):
        copy(script, script.parent / "out/deep")
    assert not [name for name in files_in(script.parent / "out/deep") if "out" in name]
    copy(script, script.parent / "second")
    assert not [name for name in files_in(script.parent / "second") if "deep/" in name]


def test_a_copy_of_another_version_is_replaced(script: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    copy(script, out)
    (out / "plan.json").write_text("{}", encoding="utf-8")
    copy(script, out)
    assert load(out / "plan.json").script == str(out / "train.py")


def test_a_link_to_a_folder_stays_a_link(script: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/images.bin").write_bytes(b"1")
    (script.parent / "images").symlink_to(tmp_path / "elsewhere")
    for _ in range(2):
        copy(script, tmp_path / "out")
    assert (tmp_path / "out/images").is_symlink()
    assert (tmp_path / "out/images/images.bin").read_bytes() == b"1"


def test_a_program_that_changed_is_refused(script: Path, tmp_path: Path) -> None:
    plan = compile_plan(script, script.parent, (), RunOptions())
    script.write_text("opt.step()\n", encoding="utf-8")
    with pytest.raises(InputError, match="changed since it was planned"):
        write_copy(plan, tmp_path / "out")


def test_a_folder_of_too_many_files_is_refused(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "MOST_FILES", 2)
    with pytest.raises(InputError, match="put the script into a folder of its own"):
        copy(script, tmp_path / "out")


def test_an_included_package_lies_beside_the_script(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site/pack"
    (package / "sub").mkdir(parents=True)
    (package / "__init__.py").write_text("from pack.sub import deep\n", encoding="utf-8")
    (package / "sub/__init__.py").write_text("", encoding="utf-8")
    (package / "sub/deep.py").write_text("opt.step()\n", encoding="utf-8")
    (package / "table.json").write_text("{}", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    plan = compile_plan(script, script.parent, (), RunOptions(), ("pack",))
    write_copy(plan, tmp_path / "out")
    assert {"pack/__init__.py", "pack/table.json"} <= set(files_in(tmp_path / "out"))
    assert "_tcstatic.on(" in (tmp_path / "out/pack/sub/deep.py").read_text(encoding="utf-8")
    copied = load(tmp_path / "out/plan.json")
    assert "pack/sub/deep.py" in {site.location.file for site in copied.sites}


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs permissions of a POSIX system")
def test_a_folder_that_cannot_be_written_is_one_line(script: Path) -> None:
    with pytest.raises(InputError, match="the copy cannot be written"):
        copy(script, Path(os.devnull) / "out")
