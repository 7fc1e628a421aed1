"""The table of sites, for loops and for attributes that are assigned to or deleted."""

from __future__ import annotations

import builtins
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from tcstatic.program.source import Argument, Call, Loop, ModuleFacts, Store
from tcstatic.rewrite.callsites import is_library, may_call_model
from tcstatic.rewrite.sketch import Sketch
from tcstatic.rewrite.vocabulary import CONTAINER_METHODS, ITERATION, WATCHED_ATTRIBUTES

_BUILTINS: Final = frozenset(dir(builtins))
_LITERALS: Final = ('"', "'", "[", "{", 'f"', "f'")
# What functions are called that take one batch of a loader.
_ONE_BATCH: Final = re.compile("step|batch|overfit|debug|sanity|smoke|quick|first|once")
_AHEAD: Final = 8  # ordinals between a call and that of its first argument


def loop_sites(facts: ModuleFacts) -> Iterator[Sketch]:
    """``for`` loops that may be training loops, and what they take their batches from."""
    by_ordinal = {call.ordinal: call for call in facts.calls}
    ordinals = [call.ordinal for call in facts.calls]
    for loop in facts.loops:
        first, last = (bisect_left(ordinals, bound) for bound in loop.body)
        if loop.asynchronous or not _may_train(loop, facts.calls[first:last]):
            continue
        said = _left_at_once(loop)
        yield Sketch("loop", "loop.step", loop.iterable, loop.function, "", loop.text, "", said)
        source = _source(by_ordinal.get(loop.iterable_call), by_ordinal)
        if source:
            text = source.text
            yield Sketch("on", "loader.next", source.span, loop.function, "", text)


def comprehension_sites(facts: ModuleFacts) -> Iterator[Sketch]:
    """Comprehensions that may run a model over batches: not over a list of layers, which their
    element calls by the name that they bind."""
    by_ordinal = {call.ordinal: call for call in facts.calls}
    ordinals = [call.ordinal for call in facts.calls]
    for loop in facts.comprehensions:
        first, last = (bisect_left(ordinals, bound) for bound in loop.body)
        calls = facts.calls[first:last]
        if loop.asynchronous or not any(_runs_model(call, loop, facts) for call in calls):
            continue
        said = {"within": "comprehension"}
        yield Sketch("loop", "loop.step", loop.iterable, loop.function, "", loop.text, "", said)
        source = _source(by_ordinal.get(loop.iterable_call), by_ordinal)
        if source:
            yield Sketch("on", "loader.next", source.span, loop.function, "", source.text)


def _left_at_once(loop: Loop) -> dict[str, str]:
    """The line that ends each pass in its first turn; a function for one batch is meant to."""
    meant = loop.left and _ONE_BATCH.search(loop.function.rpartition(".")[2])
    return {"left": str(loop.left)} if loop.left and not meant else {}


def _runs_model(call: Call, loop: Loop, facts: ModuleFacts) -> bool:
    root = call.callee_text.partition(".")[0]
    return root not in loop.targets and may_call_model(call, facts)


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


def _source(call: Call | None, by_ordinal: Mapping[int, Call]) -> Argument | None:
    """What ``enumerate(tqdm(X))`` takes its items from, however deep."""
    found: Argument | None = None
    while call is not None and call.name in ITERATION and call.arguments:
        first = call.arguments[0]
        if first.keyword:
            break
        found = first
        # What stands in its callee comes before it, which is a name or two.
        near = (by_ordinal.get(call.ordinal + ahead) for ahead in range(1, _AHEAD))
        call = next((other for other in near if other and other.span == first.span), None)
    return found
