"""Which files are the script's own: found from its imports, without importing anything."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import final

from tcstatic.errors import InputError, input_problem
from tcstatic.program.source.names import Names
from tcstatic.program.source.text import decode, parse


@final
@dataclass(frozen=True, slots=True)
class LocalFiles:
    """The program's own files, the script first, and the paths that do not exist today but
    would be imported in their place, or besides them, if they did."""

    files: tuple[Path, ...]
    absent: tuple[Path, ...]


def local_modules(script: Path, root: Path, include: tuple[str, ...]) -> tuple[Path, ...]:
    """The script, its own modules below `root` (what `sys.path[0]` will be) that it imports, direct
    or not, and all files of the packages named by `include`, wherever `sys.path` finds them."""
    return find_local_files(script, root, include).files


def absent_candidates(script: Path, root: Path, include: tuple[str, ...]) -> tuple[Path, ...]:
    """Paths that would change the answer of `local_modules` if a file appeared there."""
    return find_local_files(script, root, include).absent


def find_local_files(script: Path, root: Path, include: tuple[str, ...]) -> LocalFiles:
    """As `local_modules`, with the candidates that were looked for and not found."""
    found: dict[Path, None] = {script: None}
    absent: dict[Path, None] = {}
    waiting = [script]
    while waiting:
        path = waiting.pop(0)
        for name in _imported(path, module_name(path, root)):
            for candidate in _lookup(name, root):
                if candidate.is_file():
                    if candidate not in found:
                        found[candidate] = None
                        waiting.append(candidate)
                    break
                absent[candidate] = None
    for package in include:
        found.update(dict.fromkeys(package_files(package)))
    ordered = [script, *sorted(path for path in found if path != script)]
    return LocalFiles(tuple(ordered), tuple(sorted(absent)))


def module_name(path: Path, root: Path) -> str:
    """The dotted name of a file when `root` is on `sys.path`; its stem where it lies elsewhere."""
    try:
        parts = list(path.relative_to(root).with_suffix("").parts)
    except ValueError:
        return path.stem
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _lookup(name: str, root: Path) -> tuple[Path, ...]:
    """In the order in which Python looks: a package goes before a module."""
    base = root.joinpath(*name.split("."))
    if not base.parent.is_dir():
        return ()
    return (base / "__init__.py", base.with_name(f"{base.name}.py"))


def _imported(path: Path, module: str) -> Iterator[str]:
    """Names of modules that a file may import, packages before what lies in them."""
    try:
        tree = parse(decode(path.read_bytes()).text)
    except (OSError, InputError):
        return
    names = Names(module, path.stem == "__init__")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.add_import(node)
        elif isinstance(node, ast.ImportFrom):
            names.add_import_from(node)
        elif isinstance(node, ast.Call):
            _add_dynamic(node, names)
    for imported in names.imported:
        yield from _with_parents(imported.module)
        yield from (f"{imported.module}.{name}" for name in imported.names if name != "*")


def _add_dynamic(node: ast.Call, names: Names) -> None:
    """``importlib.import_module("a.b")`` and ``__import__("a.b")`` with a literal name."""
    function = node.func
    called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if called in ("import_module", "__import__") and node.args:
        name = getattr(node.args[0], "value", None)
        if isinstance(name, str) and name and not name.startswith("."):
            names.add_import(ast.Import(names=[ast.alias(name=name)]))


def _with_parents(module: str) -> Iterable[str]:
    parts = module.split(".") if module else []
    return (".".join(parts[: length + 1]) for length in range(len(parts)))


def package_files(name: str) -> list[Path]:
    """All source files of a package or module on `sys.path`; InputError for an unknown one."""
    top, *rest = name.split(".")
    spec = PathFinder.find_spec(top)
    folders = [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
    bases = [folder.joinpath(*rest) for folder in folders]
    files = [path for base in bases for path in base.rglob("*.py")]
    files += [path for base in bases if rest and (path := base.with_suffix(".py")).is_file()]
    if spec and spec.origin and spec.origin.endswith(".py") and not folders and not rest:
        files.append(Path(spec.origin))
    if not files:
        raise InputError(
            input_problem(
                f"--include {name}: no such package",
                expected="the name of a package of Python source that can be imported",
                cure=f"looked on sys.path ({len(sys.path)} folders)",
            )
        )
    return sorted(files)
