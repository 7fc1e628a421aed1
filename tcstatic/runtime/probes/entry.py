"""The four functions that rewritten code calls. They hand their value back, whatever happens.

Inside a compiled region they are the identity: dynamo traces what `unseen_by_dynamo` puts in their
place, so its graphs are those of the program alone. Where a compiled program falls back to Python,
dynamo is offered every frame that runs; ours are kept from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import Any, Protocol

Handler = Callable[[Any, FrameType], None]  # given the object, and the user's frame


class Receiver(Protocol):
    """Who is told, and what is done at the sites of each probe, by number.

    Every method is contained by its caller.
    """

    values: dict[int, Handler]
    receivers: dict[int, Handler]
    targets: dict[int, Handler]

    def at_site(self, number: int, handler: Handler, thing: Any) -> None: ...
    def saw_loop(self, number: int, iterable: Iterable[Any]) -> Iterable[Any]: ...


def _kept_as_it_is(callback: Any) -> Any:
    return None


switch: Callable[[Any], Any] = _kept_as_it_is  # sets dynamo's frame evaluation, once there is one
_compiling: Callable[[], bool] | None = None  # set while dynamo does not know our functions yet
_receiver: Receiver | None = None
_values: Mapping[int, Handler] = {}
_receivers: Mapping[int, Handler] = {}
_targets: Mapping[int, Handler] = {}
_tell: Callable[[int, Handler, Any], None]


def attach(receiver: Receiver | None) -> None:
    """Say who is told from now on; None for nobody."""
    global _receiver, _values, _receivers, _targets, _tell
    _receiver = receiver
    _values = _receivers = _targets = {}
    if receiver is not None:
        _tell = receiver.at_site
        _values, _receivers = receiver.values, receiver.receivers
        _targets = receiver.targets


def _at_once(tell: Callable[..., Any], *given: Any) -> Any:
    return tell(*given)


outside: Callable[..., Any] = _at_once  # calls with dynamo's frame evaluation off, as `switch`


def dynamo_is_here(
    hooks: Iterable[Callable[..., None]], switching: Iterable[Callable[..., None]]
) -> None:
    """Keep our functions, and the `hooks` registered with torch, out of dynamo's sight.

    `switching` are the functions that set `switch` themselves before they do anything else.
    Raises ImportError or AttributeError where this torch has no means for it.
    """
    global _compiling, outside, switch
    import torch
    import torch._dynamo
    from torch._C._dynamo.eval_frame import set_eval_frame
    from torch._dynamo.eval_frame import skip_code

    _compiling = torch.compiler.is_compiling  # stands until the rest has gone well
    setting: Callable[[Any], Any] = set_eval_frame
    skip: Callable[[Any], Any] = skip_code

    def unseen(tell: Callable[..., Any], *given: Any) -> Any:
        before = setting(None)
        try:
            return tell(*given)
        finally:
            setting(before)

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
    for function in (unseen, _at_once, *switching):
        skip(function.__code__)
    outside, switch = unseen, setting
    _compiling = None


def after(number: int, value: Any) -> Any:
    """Return `value`, the result of the call (or the argument) at site `number`."""
    if _compiling is not None and _compiling():
        return value
    handler = _values.get(number)
    if handler is not None:
        _tell(number, handler, value)
    return value


def on(number: int, thing: Any) -> Any:
    """Return `thing`, whose method (or which itself) is about to be called at site `number`."""
    if _compiling is not None and _compiling():
        return thing
    handler = _receivers.get(number)
    if handler is not None:
        _tell(number, handler, thing)
    return thing


def target(number: int, thing: Any) -> Any:
    """Return `thing`, of which an attribute is about to be set or deleted at site `number`."""
    if _compiling is not None and _compiling():
        return thing
    handler = _targets.get(number)
    if handler is not None:
        _tell(number, handler, thing)
    return thing


def loop(number: int, iterable: Any) -> Any:
    """Return an iterable over the same items for the `for` statement at site `number`."""
    if _compiling is not None and _compiling():
        return iterable
    if _receiver is not None:
        return outside(_receiver.saw_loop, number, iterable)
    return iterable
