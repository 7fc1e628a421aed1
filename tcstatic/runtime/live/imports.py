"""Call back right after a module was imported, without importing it and without a lasting trace."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, TypeVar, final

Function = TypeVar("Function", bound=Callable[..., Any])


def unseen(function: Function) -> Function:
    """Give the function's frames the name by which Python drops importlib's own from tracebacks.

    A module that raises while it is imported then shows the same traceback as without us, and
    `warnings` skips the frame when it counts levels.
    """
    function.__code__ = function.__code__.replace(
        co_filename="<frozen importlib._bootstrap>", co_name="_call_with_frames_removed"
    )
    return function


def when_imported(name: str, callback: Callable[[], None]) -> None:
    """Call `callback` once: at once if the module is loaded, else after it was executed."""
    module = sys.modules.get(name)
    if module is not None and not _loading(module):
        callback()
    else:
        sys.meta_path.insert(0, _Notifier(name, callback))


def find_natively(
    skipped: object, fullname: str, path: Sequence[str] | None, target: ModuleType | None
) -> ModuleSpec | None:
    """Return the spec that the finders behind `skipped` find, in their own order."""
    behind = False
    for finder in list(sys.meta_path):
        if finder is skipped:
            behind = True
        elif behind:
            find_spec = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find_spec and find_spec(fullname, path, target)
            if spec is not None:
                return spec
    return None


@final
class _Notifier:
    """A meta-path finder for one module name; removes itself when its module is found."""

    def __init__(self, name: str, callback: Callable[[], None]) -> None:
        self._name = name
        self._callback = callback

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        spec = find_natively(self, fullname, path, target)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Telling(spec.loader, self)  # type: ignore[assignment]
        return spec

    def told(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            self._callback()


@final
class _Telling:
    """Stands for a loader until its module is about to be executed, then gives it back."""

    def __init__(self, loader: Any, notifier: _Notifier) -> None:
        self._loader = loader
        self._notifier = notifier

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        spec.loader = self._loader
        try:
            module: ModuleType | None = self._loader.create_module(spec)
        finally:
            spec.loader = self  # type: ignore[assignment]
        return module

    @unseen
    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._notifier.told()


def _loading(module: ModuleType) -> bool:
    spec = getattr(module, "__spec__", None)
    return bool(getattr(spec, "_initializing", False))
