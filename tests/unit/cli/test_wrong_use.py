"""What a newcomer mistypes: one line that says what was got, what is expected, and what to do."""

from __future__ import annotations

import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tcstatic import cli

BROKEN = "import torch\ndef f(:\n    pass\n"
FINDING = """\
import torch

model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("print('trained')\n")
    (tmp_path / "broken.py").write_text(BROKEN)
    (tmp_path / "latin.py").write_bytes(b'print("\xe9")\n')
    (tmp_path / "notes.ipynb").write_text('{"cells": []}')
    (tmp_path / "empty").mkdir()
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text("")
    (tmp_path / "train.sh").write_text("python train.py\n")
    (tmp_path / "app.pyz").write_bytes(b"PK")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__main__.py").write_text("print('trained')\n")
    os.mkfifo(tmp_path / "pipe.py")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("train.py", "got 'train.py'; expected one of run, check, "),
        ("train.py", "`tcstatic run train.py`"),
        ("wrte", "no such command, got 'wrte'; expected one of run, check, "),
        ("trace wrte", "no such command, got 'wrte'; expected one of info, show, export"),
        ("run", "Missing argument 'SCRIPT'; `tcstatic run --help` shows"),
        ("trace info", "Missing argument 'DIR'; `tcstatic trace info --help` shows"),
        ("lint --quux", "`tcstatic lint --help` shows"),
        ("run --trace= train.py", "'--trace': got ''; expected a path"),
        ("run --report= train.py", "'--report': got ''; expected a path"),
        (
            "run --trace broken.py train.py",
            "no trace can be recorded here, got a file; expected a new or an empty folder; name an",
        ),
        ("run --trace broken.py/t train.py", "got Not a directory; expected a new or an empty f"),
        ("run --trace app train.py", "a folder that holds '__main__.py'; expected a new or an em"),
        ("rewrite broken.py -o copy", "broken.py:2: syntax error"),
        ("rewrite latin.py --diff", "latin.py: cannot be decoded"),
        ("run pipe.py", "pipe.py: this is a pipe"),
        ("rewrite pipe.py -o copy", "pipe.py: this is a pipe"),
        ("run notes.ipynb", "notes.ipynb: this is a notebook; expected a script"),
        (
            "run train.sh",
            "this is a shell script; expected a script (or -m MODULE); put `tc",
        ),
        ("run none.sh", "none.sh: the script cannot be read (No such file or directory)"),
        ("run app.pyz", "app.pyz: this is an archive"),
        (
            "run app",
            "this is a folder; expected a script (or -m MODULE); name app/__main__.py",
        ),
        ("run -m pkg", "this package has no __main__.py to run, got 'pkg'; expected a module of"),
        ("run -m train.py", "without -m, 'train.py' is run as a script"),
        ("infer x -o no/such/learnt.yaml", "learnt.yaml: the invariants cannot be written (there"),
    ],
)
def test_one_line_says_what_to_do(
    folder: Path, capfd: pytest.CaptureFixture[str], line: str, words: str
) -> None:
    assert cli.main(line.split()) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("tcstatic: ")
    assert err.count("\n") == 1
    assert words in err
    assert not (folder / "copy").exists()


def test_an_empty_name_is_no_folder_of_this_name(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", ""]) == 2
    assert capfd.readouterr().err.startswith("tcstatic: '': this is a folder; expected a script")


def test_a_graph_of_nothing_says_so(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["graph", "empty"]) == 0
    out, err = capfd.readouterr()
    assert (out, err) == ("", "tcstatic: no file of Python in empty\n")


def test_a_file_that_is_left_out_is_named_once(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["graph", "broken.py"]) == 2
    err = capfd.readouterr().err
    assert err.startswith(f"tcstatic: file left out: {folder / 'broken.py'}:2: syntax error")
    assert err.count("broken.py") == 1


@pytest.mark.parametrize("line", ["lint {}", "rewrite {} -o copy", "run -m train"])
def test_a_current_folder_that_is_gone_is_no_bug_of_ours(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    line: str,
) -> None:
    monkeypatch.chdir(folder / "empty")
    (folder / "empty").rmdir()
    assert cli.main(line.format(folder / "train.py").split()) == 2
    gone = "tcstatic: the current folder is gone; change into one that exists\n"
    assert capfd.readouterr() == ("", gone)


def ended(
    folder: Path, repo: Path, line: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """How a command ends whose streams the shell has redirected."""
    start = f'exec "{sys.executable}" -m tcstatic {line}'
    env = {**os.environ, "PYTHONPATH": str(repo), "TCSTATIC_CACHE": str(folder / "cache")}
    env.update(environment)
    return subprocess.run(
        ["/bin/sh", "-c", start], cwd=folder, env=env, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("rules > /dev/full", 2, "tcstatic: cannot go on (No space left on device)\n"),
        ("wrong 2>&-", 2, ""),
        ("wrong 2>/dev/full", 2, ""),
        ("lint --isolated finding.py >&-", 1, ""),
    ],
)
def test_a_stream_that_is_full_or_closed_is_no_bug_of_ours(
    folder: Path, repo: Path, line: str, status: int, said: str, unbuffered: str
) -> None:
    (folder / "finding.py").write_text(FINDING)
    done = ended(folder, repo, line, PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", said)


@pytest.mark.parametrize(
    ("left", "reason"),
    [(100, "EOFError: marshal data too short"), (16, "EOFError: EOF read where object expected")],
)
def test_a_damaged_module_is_named(repo: Path, tmp_path: Path, left: int, reason: str) -> None:
    shutil.copytree(
        repo / "tcstatic", tmp_path / "tcstatic", ignore=shutil.ignore_patterns("__pycache__")
    )
    module = tmp_path / "tcstatic" / "pipeline.py"
    compiled = Path(py_compile.compile(str(module), doraise=True))
    compiled.write_bytes(compiled.read_bytes()[:left])
    (tmp_path / "train.py").write_text("print('trained')\n")
    ran = subprocess.run(
        [sys.executable, "-m", "tcstatic", "run", "train.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "TCSTATIC_CACHE": str(tmp_path / "c")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        f"tcstatic: {compiled}: this compiled module is damaged ({reason}); delete it, and Python"
        " makes it again\n"
    )


@pytest.mark.parametrize("damaged", [False, True])
def test_a_damaged_module_of_the_program_is_reported_by_python(
    tmp_path: Path, damaged: bool
) -> None:
    (tmp_path / "helper.py").write_text("TOLD = 'trained'\n")
    (tmp_path / "train.py").write_text("import helper\nprint(helper.TOLD)\n")
    compiled = Path(py_compile.compile(str(tmp_path / "helper.py"), doraise=True))
    if damaged:
        compiled.write_bytes(compiled.read_bytes()[:-9])
    environment = {**os.environ, "TCSTATIC_CACHE": str(tmp_path / "c")}
    words = [sys.executable, "train.py"], [sys.executable, "-m", "tcstatic", "run", "train.py"]
    plain, watched = (
        subprocess.run(
            one, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        for one in words
    )
    assert plain.returncode == watched.returncode == int(damaged)
    assert plain.stdout == watched.stdout
    assert watched.stderr.startswith(plain.stderr)
    assert ("EOFError: marshal data too short" in plain.stderr) == damaged
