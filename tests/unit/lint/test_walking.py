"""Which files of a folder are linted."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tcstatic import cli
from tcstatic.lint.discovery import discover
from tcstatic.lint.walking import walk
from tests.unit.lint.projects import BAD, GOOD, Folder


def tree(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")


def names(root: Path, *, git: bool = False) -> list[str]:
    return [
        one.relative_to(root).as_posix() for one in walk(root, git=git) if isinstance(one, Path)
    ]


def test_folders_that_hold_no_source(tmp_path: Path) -> None:
    tree(
        tmp_path,
        *("b.py", "a.py", "notes.txt", "x.pyi", "lib/c.py", ".hidden/d.py", "node_modules/e.py"),
        *("env/pyvenv.cfg", "env/f.py", "venv/g.py", "lib/__pycache__/h.py", "__pycache__/i.py"),
    )
    assert names(tmp_path) == ["a.py", "b.py", "lib/c.py"]
    assert names(tmp_path / ".hidden") == ["d.py"]


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    tree(tmp_path, "lib/a.py")
    (tmp_path / "lib" / "again").symlink_to(tmp_path)
    (tmp_path / "b.py").symlink_to(tmp_path / "lib" / "a.py")
    assert names(tmp_path) == ["b.py", "lib/a.py"]


def test_what_git_ignores(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    tree(
        tmp_path,
        *(
            "a.py",
            "gen.py",
            "lib/gen.py",
            "lib/b.py",
            "out/c.py",
            "lib/kept/gen.py",
            "lib/x_pb2.py",
        ),
        *("private.py", "/".join(["deep", "out", "d.py"])),
    )
    (tmp_path / ".gitignore").write_text("# made\ngen.py\n/out/\n*_pb2.py\n")
    (tmp_path / "lib" / "kept").joinpath(".gitignore").write_text("!gen.py\n")
    (tmp_path / ".git" / "info" / "exclude").write_text("private.py\n")
    tracked = subprocess.run(
        ["git", "-C", tmp_path, "ls-files", "-co", "--exclude-standard", "*.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = names(tmp_path, git=True)
    assert sorted(found) == sorted(tracked.stdout.split())
    assert "lib/kept/gen.py" in found
    assert names(tmp_path / "lib", git=True) == ["b.py", "kept/gen.py"]


def test_the_root_of_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "one/pyproject.toml", "one/lib/a.py", "two/x/b.py", "two/c.py", "here/d.py")
    monkeypatch.chdir(tmp_path / "here")
    found = discover([str(tmp_path / "one"), str(tmp_path / "two"), "d.py"])
    roots = {str(one.root.relative_to(tmp_path)): len(one.files) for one in found.projects}
    assert roots == {"here": 1, ".": 2, "one": 1}
    (alone,) = discover([str(tmp_path / "two")]).projects
    assert alone.root == tmp_path / "two"


def roots_of(*paths: Path) -> set[Path]:
    return {one.root for one in discover(list(map(str, paths))).projects}


def test_the_root_where_nothing_marks_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "old/setup.py", "old/src/lib/a.py", "old/ext/setup.py", "plain/lib/b.py")
    tree(tmp_path, "plain/run.py", "pkg/__init__.py", "pkg/sub/__init__.py", "pkg/sub/c.py")
    monkeypatch.chdir(tmp_path)
    # The working folder holds a project, and is none itself.
    assert roots_of(tmp_path / "old") == {tmp_path / "old", tmp_path / "old" / "ext"}
    assert roots_of(tmp_path / "old" / "src") == {tmp_path / "old"}
    assert roots_of(tmp_path / "plain") == {tmp_path / "plain"}
    assert roots_of(tmp_path / "plain" / "lib" / "b.py") == {tmp_path / "plain" / "lib"}
    assert roots_of(tmp_path / "pkg" / "sub" / "c.py") == {tmp_path}
    assert roots_of(tmp_path) == {tmp_path, tmp_path / "old", tmp_path / "old" / "ext"}
    monkeypatch.chdir(tmp_path / "plain")
    assert roots_of(tmp_path / "plain" / "lib" / "b.py") == {tmp_path / "plain"}
    assert roots_of(tmp_path / "old" / "src" / "lib" / "a.py") == {tmp_path / "old"}


def test_a_home_folder_is_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "lib/b.py", "run.py")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert roots_of(tmp_path / "lib" / "b.py") == {tmp_path / "lib"}
    assert roots_of(tmp_path / "run.py") == {tmp_path}


def test_a_file_is_linted_once_and_ignored_ones_if_named(folder: Folder) -> None:
    (folder.path / ".git").mkdir()
    (folder.path / ".gitignore").write_text("made.py\n")
    folder.write(train=BAD, made=BAD)
    assert folder.places() == ["train.py:8 TCS112"]
    assert folder.places(".", "train.py", "./train.py") == ["train.py:8 TCS112"]
    assert folder.places("made.py") == ["made.py:8 TCS112"]


def test_paths_are_told_as_seen_from_here(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write(lib__train=BAD, good=GOOD)
    monkeypatch.chdir(folder.path / "lib")
    assert folder.concise("train.py")[0].startswith("train.py:8:5: ")
    assert folder.places("train.py") == ["lib/train.py:8 TCS112"]
    monkeypatch.chdir(folder.path.parent)
    assert folder.concise("project")[0].startswith("project/lib/train.py:8:5: ")


def test_a_copy_that_was_made_to_be_watched_is_linted_only_if_it_is_named(folder: Folder) -> None:
    folder.write(train=BAD)
    assert cli.main(["rewrite", str(folder.path / "train.py"), "-o", str(folder.path / "w")]) == 0
    assert folder.places() == ["train.py:8 TCS112"]
    assert folder.places("w") == ["train.py:8 TCS112"]


def test_a_notebook_that_is_named_is_told_of(
    folder: Folder, capfd: pytest.CaptureFixture[str]
) -> None:
    folder.write(train=GOOD)
    (folder.path / "notes.ipynb").write_text("{}")
    assert folder.places() == []
    assert cli.main(["lint", str(folder.path / "notes.ipynb")]) == 2
    assert "notes.ipynb: notebooks are not read; `jupyter nbconvert" in capfd.readouterr().err
