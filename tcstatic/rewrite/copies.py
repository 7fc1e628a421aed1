"""A plan -> an instrumented copy of the script's folder, for any launcher."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from tcstatic import __version__
from tcstatic.errors import InputError, PlanError, input_problem
from tcstatic.model import PlannedFile, ProbePlan, Rewritten, Site
from tcstatic.program.source import PROBES, decode
from tcstatic.rewrite.instrumenting import instrument
from tcstatic.runtime.live.planfile import dump, load

PLAN_NAME: Final = "plan.json"
# Larger files are data sets and checkpoints, which a script is told by path.
LARGEST_BYTES: Final = 50_000_000
# A script that lies in a home folder must not copy all of it.
MOST_FILES: Final = 20_000
_LEFT_OUT: Final = frozenset({"__pycache__", "node_modules", "site-packages"})

# How every version begins the module of the probes.
_MARK: Final = '"""The probes of this instrumented copy'
_PROBES_MODULE: Final = f'''\
{_MARK} (tcstatic {__version__}), imported by its modules."""
import os
import sys


def _pass(number, value):
    return value


try:
    from tcstatic.runtime.live.attach import attach as _attach
except ImportError as _error:
    after = on = target = loop = _pass
    _process = sys.modules.get("multiprocessing.process")
    if os.environ.get("RANK", "0") == "0" and not (_process and _process.parent_process()):
        print("tcstatic: this run is not watched (" + str(_error) + ")", file=sys.stderr)
else:
    _probes = _attach(os.path.join(os.path.dirname(os.path.abspath(__file__)), "plan.json"))
    after, on, target, loop = _probes.after, _probes.on, _probes.target, _probes.loop
'''


def write_copy(plan: ProbePlan, folder: Path) -> None:
    """Write the instrumented copy of a plan's program, with its plan beside it.

    The script's folder is copied (files of more than 50 MB, hidden folders and virtual environments
    are left out), then the planned files are replaced by instrumented ones; packages from elsewhere
    go beside the script, where they are found first. Raises InputError for a folder that holds
    something else, for a program that changed since it was planned, and for a full disk.
    """
    root, folder = Path(plan.root), folder.absolute()
    _check_folder(folder, root)
    try:
        _remove_old(folder)
        folder.mkdir(parents=True, exist_ok=True)
        _copy_tree(root, folder, folder)
        files = _write_files(plan, root, folder)
        (folder / f"{PROBES}.py").write_text(_PROBES_MODULE, encoding="utf-8")
        script = folder / os.path.relpath(plan.script, root)
        copied = replace(plan, root=str(folder), script=str(script), files=files)
        (folder / PLAN_NAME).write_text(dump(_renamed(copied)), encoding="utf-8")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        where = str(error.filename or folder)
        raise InputError(
            input_problem("the copy cannot be written", where=where, got=reason)
        ) from error


def _check_folder(folder: Path, root: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(input_problem("not a folder", where=str(folder)))
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if _is_copy(folder):
        return
    raise InputError(
        input_problem(
            "the folder is not empty",
            where=str(folder),
            expected="a new or empty folder, or one that holds an earlier copy",
        )
    )


def _is_copy(folder: Path) -> bool:
    """Whether this or another version of tcstatic wrote the folder."""
    with contextlib.suppress(OSError):
        probes = (folder / f"{PROBES}.py").read_text(encoding="utf-8", errors="replace")
        return probes.startswith(_MARK) and (folder / PLAN_NAME).is_file()
    return False


def _remove_old(folder: Path) -> None:
    """Remove the modules of an earlier copy: one that is gone must not be imported any more."""
    with contextlib.suppress(PlanError):
        for file in load(folder / PLAN_NAME).files:
            path = folder / file.path
            if path.is_relative_to(folder) and ".." not in path.parts:
                path.unlink(missing_ok=True)


def _copy_tree(source: Path, target: Path, copy: Path) -> None:
    paths = list(_files_below(source, copy))
    if len(paths) > MOST_FILES:
        raise InputError(
            input_problem(
                f"the script's folder holds {len(paths)} files",
                where=str(source),
                expected=f"at most {MOST_FILES}",
                cure="put the script into a folder of its own",
            )
        )
    for path in paths:
        to = target / path.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_dir():
            shutil.copy2(path, to)
        elif not os.path.lexists(to):
            to.symlink_to(path.resolve(), target_is_directory=True)


def _files_below(folder: Path, copy: Path) -> Iterator[Path]:
    """Files to copy, and links to folders: what a link leads to is not the script's folder."""
    for here, folders, names in os.walk(folder):
        below = [Path(here, name) for name in sorted(folders)]
        below = [path for path in below if path != copy and not _left_out(path)]
        yield from (path for path in below if path.is_symlink())
        folders[:] = [path.name for path in below if not path.is_symlink()]
        for name in sorted(names):
            path = Path(here, name)
            if path.is_file() and (path.suffix == ".py" or path.stat().st_size <= LARGEST_BYTES):
                yield path


def _left_out(folder: Path) -> bool:
    hidden = folder.name.startswith(".")
    if hidden or folder.name in _LEFT_OUT or (folder / "pyvenv.cfg").exists():
        return True
    return _is_copy(folder)


def _write_files(plan: ProbePlan, root: Path, folder: Path) -> tuple[PlannedFile, ...]:
    by_file: dict[str, list[Site]] = {}
    for site in plan.sites:
        by_file.setdefault(site.location.file, []).append(site)
    written: list[PlannedFile] = []
    packages: set[Path] = set()
    for file in plan.files:
        source_path, name = root / file.path, _name_in_copy(file.path)
        if os.path.isabs(file.path):
            package = _package_folder(Path(file.path))
            if package is not None and package not in packages:
                packages.add(package)
                _copy_tree(package, folder / package.name, folder)
        source = source_path.read_bytes()
        if hashlib.sha256(source).hexdigest() != file.source_hash:
            raise InputError(input_problem("changed since it was planned", where=str(source_path)))
        to = folder / name
        to.parent.mkdir(parents=True, exist_ok=True)
        outcome = instrument(source_path, source, by_file.get(file.path, ()))
        text = decode(source, file.path)
        content = text.encode(outcome.text) if isinstance(outcome, Rewritten) else source
        to.write_bytes(content)
        shutil.copymode(source_path, to)
        written.append(PlannedFile(name, hashlib.sha256(content).hexdigest()))
    return tuple(written)


def _name_in_copy(name: str) -> str:
    """Where a file goes: an included package from elsewhere lies beside the script."""
    if not os.path.isabs(name):
        return name
    path = Path(name)
    package = _package_folder(path)
    return path.name if package is None else path.relative_to(package.parent).as_posix()


def _package_folder(path: Path) -> Path | None:
    """The outermost package folder that a module lies in; None for a module of its own."""
    found = None
    for folder in path.parents:
        if not (folder / "__init__.py").is_file():
            break
        found = folder
    return found


def _renamed(copied: ProbePlan) -> ProbePlan:
    sites = tuple(
        replace(site, location=replace(site.location, file=_name_in_copy(site.location.file)))
        for site in copied.sites
    )
    return replace(copied, sites=sites)
