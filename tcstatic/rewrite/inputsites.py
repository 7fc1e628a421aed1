"""The table of sites, for what models and losses are given, and for a loader's first batch."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from typing import Final

from tcstatic.program.source import Argument, Call, ModuleFacts, Span
from tcstatic.rewrite.sketch import Sketch
from tcstatic.rewrite.vocabulary import LOSSES

MODEL: Final = "model.forward"
LOSS: Final = "loss.forward"
_MOST: Final = 3  # arguments of a call that are looked at; one with more is not judged
_PLAIN: Final = re.compile(r"[\w.]+(\[[^\[\]]*\])?")


def input_sites(call: Call, made: Sequence[Sketch], spans: Container[Span]) -> Iterator[Sketch]:
    """What a call gives to a model or a loss; `made` are the sites of the call itself, `spans` the
    ranges of all calls."""
    if call.quoted or call.in_class or call.place:
        return
    if call.callee in LOSSES:
        yield from (_given(call, one, LOSS, {}) for one in _targets(call))
    elif any(one.kind == MODEL for one in made):
        given = [one for one in call.arguments if not one.literal]
        spread = any(one.keyword in ("*", "**") for one in given)
        if given and not spread and len(given) <= _MOST:
            for one in given:
                if one.span in spans or _PLAIN.fullmatch(one.text):
                    place = one.keyword or str(call.arguments.index(one))
                    said = {"at": place, "of": str(len(given))}
                    yield _given(call, one, MODEL, said)


def first_batches(call: Call, facts: ModuleFacts) -> Iterator[Sketch]:
    """``next(iter(loader))``: the loader, and the batch."""
    if call.callee_text != "next" or len(call.arguments) != 1 or call.quoted or call.place:
        return
    given = call.arguments[0]
    inner = next((other for other in facts.calls if other.span == given.span), None)
    if inner is None or inner.callee_text != "iter" or len(inner.arguments) != 1:
        return
    source = inner.arguments[0]
    if source.keyword or given.keyword:
        return
    function = call.function
    yield Sketch("on", "loader.next", source.span, function, "", source.text)
    yield Sketch("after", "loader.next", call.span, function, "", source.text)


def _targets(call: Call) -> Iterator[Argument]:
    """The second argument of a loss, if nothing hides which one that is."""
    if any(one.keyword in ("*", "**") for one in call.arguments):
        return
    named = [one for one in call.arguments if one.keyword == "target"]
    plain = [one for one in call.arguments if not one.keyword]
    for one in named or plain[1:2]:
        if _PLAIN.fullmatch(one.text) and not one.literal:
            yield one


def _given(call: Call, one: Argument, kind: str, said: dict[str, str]) -> Sketch:
    function, callee = call.function, call.callee
    return Sketch("after", kind, one.span, function, callee, one.text, "given", said)
