"""The loader: planned source, recognised by its content, runs as instrumented code."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType
from typing import final

from tcstatic.model import PlannedFile, ProbePlan
from tcstatic.runtime.live.codecache import fetch
from tcstatic.runtime.live.imports import find_natively, unseen


@final
class PlannedCode:
    """Gives the code of the plan's files as long as their bytes are those that were planned."""

    def __init__(self, plan: ProbePlan, tell: Callable[[str], None]) -> None:
        self._files: dict[str, PlannedFile] = {}
        for file in plan.files:
            if file.code:
                self._files[os.path.realpath(os.path.join(plan.root, file.path))] = file
        self._tell = tell
        # Any import whose last name is not one of these is passed on with one look-up.
        self.names = frozenset(name for path in self._files for name in _module_names(path))

    def knows(self, path: str) -> bool:
        """Whether the plan has instrumented code for this file."""
        return os.path.realpath(path) in self._files

    def code(self, path: str, source: bytes) -> CodeType | None:
        """Return the instrumented code for the file, None where it must run as it is.

        Where it was planned and cannot be had, one line tells why.
        """
        file = self._files.get(os.path.realpath(path))
        if file is None:
            return None
        if hashlib.sha256(source).hexdigest() != file.source_hash:
            self._tell(f"{path}: not watched, it was changed after it was planned")
            return None
        try:
            return _placed(fetch(file.code), path)
        except (OSError, ValueError, EOFError, TypeError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            self._tell(f"{path}: not watched, its instrumented code cannot be used ({reason})")
            return None


@final
class PlanFinder:
    """A meta-path finder that lets all others find, and swaps the loader of planned files."""

    def __init__(self, planned: PlannedCode) -> None:
        self._planned = planned

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.rpartition(".")[2] not in self._planned.names:
            return None
        spec = find_natively(self, fullname, path, target)
        if (
            spec is not None
            and type(spec.loader) is SourceFileLoader
            and spec.origin is not None
            and self._planned.knows(spec.origin)
        ):
            spec.loader = PlanLoader(fullname, spec.origin, self._planned)
        return spec


@final
class PlanLoader(SourceFileLoader):
    """As Python's own loader of source files, but for where the code comes from."""

    def __init__(self, fullname: str, path: str, planned: PlannedCode) -> None:
        super().__init__(fullname, path)
        self._planned = planned

    @unseen
    def get_code(self, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        try:
            source = self.get_data(path)
        except OSError:
            return super().get_code(fullname)
        return self._planned.code(path, source) or super().get_code(fullname)


def install(planned: PlannedCode) -> None:
    """Put the finder first, so that a planned file never runs without its probes."""
    sys.meta_path.insert(0, PlanFinder(planned))


def _module_names(path: str) -> tuple[str, str]:
    folder, name = os.path.split(path)
    stem = os.path.splitext(name)[0]
    return stem, os.path.basename(folder) if stem == "__init__" else stem


def _placed(code: CodeType, path: str) -> CodeType:
    """Return the code as if it was compiled from `path`, its nested code too."""
    if code.co_filename == path:
        return code
    constants = tuple(
        _placed(constant, path) if isinstance(constant, CodeType) else constant
        for constant in code.co_consts
    )
    return code.replace(co_filename=path, co_consts=constants)
