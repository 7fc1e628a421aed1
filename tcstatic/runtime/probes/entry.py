"""The four functions that rewritten code calls. They hand their value back, whatever happens.

Inside a compiled region they are the identity: dynamo traces what `unseen_by_dynamo` puts in their
place, so its graphs are those of the program alone. Where a compiled program falls back to Python,
dynamo is offered every frame that runs; ours are kept from it.
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


_compiling: Callable[[], bool] | None = None  # set while dynamo does not know our functions yet
_receiver: Receiver | None = None


def attach(receiver: Receiver | None) -> None:
    """Say who is told from now on; None for nobody."""
    global _receiver
    _receiver = receiver


def _at_once(tell: Callable[..., Any], *given: Any) -> Any:
    return tell(*given)


_outside: Callable[..., Any] = _at_once


def tell_outside(tell: Callable[..., Any], *given: Any) -> Any:
    """Call `tell` with dynamo's frame evaluation off, once there is one."""
    return _outside(tell, *given)


def dynamo_is_here(hooks: Iterable[Callable[..., None]]) -> None:
    """Keep our functions, and the `hooks` registered with torch, out of dynamo's sight.

    Raises ImportError or AttributeError where this torch has no means for it.
    """
    global _compiling, _outside
    import torch
    import torch._dynamo
    from torch._C._dynamo.eval_frame import set_eval_frame
    from torch._dynamo.eval_frame import skip_code

    _compiling = torch.compiler.is_compiling  # stands until the rest has gone well
    switch: Callable[[Any], Any] = set_eval_frame
    skip: Callable[[Any], Any] = skip_code

    def outside(tell: Callable[..., Any], *given: Any) -> Any:
        before = switch(None)
        try:
            return tell(*given)
        finally:
            switch(before)

    replace: Any = torch._dynamo.substitute_in_graph
    traced: list[tuple[Callable[..., Any], Callable[..., Any]]] = [
        (after, lambda number, value: value),
        (on, lambda number, thing: thing),
        (target, lambda number, thing: thing),
        (loop, lambda number, iterable: iterable),
        *((hook, lambda *given: None) for hook in hooks),
    ]
    for function, instead in traced:
        replace(function)(instead)
        skip(function.__code__)
    for function in (outside, tell_outside, _at_once):
        skip(function.__code__)
    _outside = outside
    _compiling = None


def after(number: int, value: Any) -> Any:
    """Return `value`, the result of the call (or the argument) at site `number`."""
    if _compiling is not None and _compiling():
        return value
    if _receiver is not None:
        _outside(_receiver.saw_value, number, value)
    return value


def on(number: int, thing: Any) -> Any:
    """Return `thing`, whose method (or which itself) is about to be called at site `number`."""
    if _compiling is not None and _compiling():
        return thing
    if _receiver is not None:
        _outside(_receiver.saw_receiver, number, thing)
    return thing


def target(number: int, thing: Any) -> Any:
    """Return `thing`, of which an attribute is about to be set or deleted at site `number`."""
    if _compiling is not None and _compiling():
        return thing
    if _receiver is not None:
        _outside(_receiver.saw_target, number, thing)
    return thing


def loop(number: int, iterable: Any) -> Any:
    """Return an iterable over the same items for the `for` statement at site `number`."""
    if _compiling is not None and _compiling():
        return iterable
    if _receiver is not None:
        return _outside(_receiver.saw_loop, number, iterable)
    return iterable
