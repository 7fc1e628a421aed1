"""Which files are the script's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcstatic.errors import InputError
from tcstatic.program.source import absent_candidates, local_modules, module_name


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root / next(iter(files))


def names(script: Path, root: Path, *include: str) -> list[str]:
    return [path.relative_to(root).as_posix() for path in local_modules(script, root, include)]


def test_modules_are_followed_through_imports(tmp_path: Path) -> None:
    script = write(
        tmp_path,
        {
            "train.py": "import torch, a\nfrom p.q import thing\nfrom p import r\nimport missing",
            "a.py": "def f():\n    import b",
            "b.py": "import a, train\nimport_ = __import__('dynamic')",
            "dynamic.py": "import importlib; importlib.import_module('late.one')",
            "late/one.py": "",
            "p/__init__.py": "from . import s",
            "p/q.py": "from .t import u\nfrom ..outside import nothing",
            "p/r/__init__.py": "",
            "p/s.py": "",
            "p/t.py": "",
            "p/unused.py": "",
            "unused.py": "",
            "broken.py": "def",
        },
    )
    assert names(script, tmp_path) == [
        "train.py",
        "a.py",
        "b.py",
        "dynamic.py",
        "late/one.py",
        "p/__init__.py",
        "p/q.py",
        "p/r/__init__.py",
        "p/s.py",
        "p/t.py",
    ]


def test_a_package_goes_before_a_module(tmp_path: Path) -> None:
    files = {"t.py": "import a", "a.py": "import b", "a/__init__.py": "import c"}
    script = write(tmp_path, {**files, "b.py": "", "c.py": ""})
    assert names(script, tmp_path) == ["t.py", "a/__init__.py", "c.py"]


def test_a_broken_module_is_found_and_leads_nowhere(tmp_path: Path) -> None:
    script = write(tmp_path, {"t.py": "import a", "a.py": "import b\ndef", "b.py": ""})
    assert names(script, tmp_path) == ["t.py", "a.py"]


def test_included_packages_come_from_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"lib/pack/__init__.py": "", "lib/pack/sub/deep.py": "", "lib/single.py": ""}
    script = write(tmp_path, {"main/t.py": "import pack", **files})
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    found = local_modules(script, script.parent, ("pack", "single"))
    assert [path.relative_to(tmp_path).as_posix() for path in found] == [
        "main/t.py",
        "lib/pack/__init__.py",
        "lib/pack/sub/deep.py",
        "lib/single.py",
    ]
    part = local_modules(script, script.parent, ("pack.sub.deep",))
    assert [path.name for path in part] == ["t.py", "deep.py"]


def test_an_unknown_package_is_an_input_error(tmp_path: Path) -> None:
    script = write(tmp_path, {"t.py": ""})
    with pytest.raises(InputError, match=r"--include no_such\.thing: no such package"):
        local_modules(script, tmp_path, ("no_such.thing",))


def test_what_would_shadow_is_told(tmp_path: Path) -> None:
    script = write(tmp_path, {"t.py": "import a\nfrom a import b\nimport torch.nn", "a.py": ""})
    assert absent_candidates(script, tmp_path, ()) == (
        tmp_path / "a/__init__.py",
        tmp_path / "torch/__init__.py",
        tmp_path / "torch.py",
    )


def test_module_names() -> None:
    root = Path("/r")
    assert module_name(root / "a/b.py", root) == "a.b"
    assert module_name(root / "a/__init__.py", root) == "a"
    assert module_name(Path("/elsewhere/c.py"), root) == "c"
