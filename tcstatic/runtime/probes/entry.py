"""The four functions that rewritten code calls. They hand their value back, whatever happens.

`_compiling` is replaced by torch's own test once torch is imported: inside a compiled region the
functions are the identity and leave no trace in its graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol


class Receiver(Protocol):
    """Who is told. Every method is contained by its caller."""

    def saw_value(self, number: int, value: Any) -> None: ...
    def saw_receiver(self, number: int, thing: Any) -> None: ...
    def saw_target(self, number: int, thing: Any) -> None: ...
    def saw_loop(self, number: int, iterable: Iterable[Any]) -> Iterable[Any]: ...


def _not_compiling() -> bool:
    return False


_compiling: Callable[[], bool] = _not_compiling
_receiver: Receiver | None = None


def attach(receiver: Receiver | None) -> None:
    """Say who is told from now on; None for nobody."""
    global _receiver
    _receiver = receiver


def torch_is_here(is_compiling: Callable[[], bool]) -> None:
    """Use torch's own test for being inside a compiled region."""
    global _compiling
    _compiling = is_compiling


def after(number: int, value: Any) -> Any:
    """Return `value`, the result of the call (or the argument) at site `number`."""
    if _compiling():
        return value
    if _receiver is not None:
        _receiver.saw_value(number, value)
    return value


def on(number: int, thing: Any) -> Any:
    """Return `thing`, whose method (or which itself) is about to be called at site `number`."""
    if _compiling():
        return thing
    if _receiver is not None:
        _receiver.saw_receiver(number, thing)
    return thing


def target(number: int, thing: Any) -> Any:
    """Return `thing`, of which an attribute is about to be set or deleted at site `number`."""
    if _compiling():
        return thing
    if _receiver is not None:
        _receiver.saw_target(number, thing)
    return thing


def loop(number: int, iterable: Any) -> Any:
    """Return an iterable over the same items for the `for` statement at site `number`."""
    if _compiling():
        return iterable
    if _receiver is not None:
        return _receiver.saw_loop(number, iterable)
    return iterable
