"""The table of sites, for loops and for attributes that are assigned to or deleted."""

from __future__ import annotations

import builtins
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

from tcstatic.program.source import Argument, Call, Loop, ModuleFacts, Store
from tcstatic.rewrite.callsites import is_library
from tcstatic.rewrite.sketch import Sketch
from tcstatic.rewrite.vocabulary import CONTAINER_METHODS, ITERATION, WATCHED_ATTRIBUTES

_BUILTINS: Final = frozenset(dir(builtins))
_LITERALS: Final = ('"', "'", "[", "{", 'f"', "f'")


def loop_sites(facts: ModuleFacts) -> Iterator[Sketch]:
    """``for`` loops that may be training loops, and what they take their batches from."""
    by_ordinal = {call.ordinal: call for call in facts.calls}
    ordinals = [call.ordinal for call in facts.calls]
    for loop in facts.loops:
        first, last = (bisect_left(ordinals, bound) for bound in loop.body)
        if loop.asynchronous or not _may_train(loop, facts.calls[first:last]):
            continue
        yield Sketch("loop", "loop.step", loop.iterable, loop.function, "", loop.text)
        source = _source(by_ordinal.get(loop.iterable_call), facts, loop)
        if source:
            text = source.text
            yield Sketch("on", "loader.next", source.span, loop.function, "", text)


def store_sites(facts: ModuleFacts) -> Iterator[Sketch]:
    """Attributes that training depends on, and any attribute of something but ``self``."""
    for store in facts.stores:
        kind = WATCHED_ATTRIBUTES.get(store.attribute)
        if kind is None and (store.base_text in ("self", "cls") or store.base_name):
            continue
        yield _target(store, kind or "model.mutate")


def _target(store: Store, kind: str) -> Sketch:
    return Sketch(
        "target",
        kind,
        store.base,
        store.function,
        "",
        store.base_text,
        store.attribute,
        {"action": store.action},
    )


def _may_train(loop: Loop, calls: Sequence[Call]) -> bool:
    return any(call.function == loop.function and not _is_plain(call) for call in calls)


def _is_plain(call: Call) -> bool:
    """Whether a call is known not to train anything."""
    if call.receiver is None:
        return call.callee in _BUILTINS or is_library(call)
    return (
        is_library(call)
        or call.receiver_text.startswith(_LITERALS)
        or call.name in CONTAINER_METHODS
    )


def _source(call: Call | None, facts: ModuleFacts, loop: Loop) -> Argument | None:
    """What ``enumerate(tqdm(X))`` takes its items from, however deep."""
    found: Argument | None = None
    by_span = {other.span: other for other in facts.calls if other.ordinal < loop.body[0]}
    while call is not None and call.name in ITERATION and call.arguments:
        first = call.arguments[0]
        if first.keyword:
            break
        found = first
        call = by_span.get(first.span)
    return found
