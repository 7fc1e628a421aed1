"""Facts of a module -> the sites where probes go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from tcstatic.model import Location, Probe, Site
from tcstatic.program.source import ModuleFacts, Span
from tcstatic.rewrite.callsites import call_sites
from tcstatic.rewrite.loopsites import comprehension_sites, loop_sites, store_sites
from tcstatic.rewrite.sketch import Sketch
from tcstatic.rewrite.vocabulary import COMPILERS

# On one expression, its own value is seen before what is done with it.
_RANK: Final[dict[Probe, int]] = {"after": 0, "on": 1, "target": 1, "loop": 1}


def select_sites(facts: ModuleFacts, first_number: int) -> tuple[Site, ...]:
    """The sites where a training event can happen, numbered from `first_number` in the order in
    which they are evaluated on a line."""
    if facts.mentions_probes:
        return ()
    shared = _shared_spans(facts)
    sketches = [
        sketch
        for call in facts.calls
        if call.span not in shared and call.place != "annotation" and not call.in_class
        for sketch in call_sites(call, facts)
    ]
    sketches += loop_sites(facts)
    sketches += comprehension_sites(facts)
    sketches += store_sites(facts)
    compiled = _compiled_functions(facts)
    kept = (sketch for sketch in sketches if not _lies_in(sketch.function, compiled))
    return _numbered(facts, kept, first_number)


def every_site(facts: ModuleFacts, first_number: int) -> tuple[Site, ...]:
    """Every call, method receiver, attribute assigned to or deleted, loop and ``with`` item: a test
    of the rewriter, not of training."""
    shared = _shared_spans(facts)
    sketches = list(_every_sketch(facts, shared))
    return _numbered(facts, sketches, first_number)


def _every_sketch(facts: ModuleFacts, shared: frozenset[Span]) -> Iterator[Sketch]:
    for call in facts.calls:
        if call.place == "annotation" or call.span in shared:
            continue
        function, callee = call.function, call.callee
        yield Sketch("after", "call", call.span, function, callee, call.callee_text)
        if call.receiver:
            yield Sketch("on", "call", call.receiver, function, callee, call.receiver_text)
    for loop in (*facts.loops, *facts.comprehensions):
        if not loop.asynchronous:
            yield Sketch("loop", "loop.step", loop.iterable, loop.function, "", loop.text)
    for item in facts.withs:
        if not item.is_call:
            yield Sketch("after", "call", item.span, item.function, "", item.text)
    for store in facts.stores:
        yield Sketch(
            "target", "call", store.base, store.function, "", store.base_text, store.attribute
        )


def _compiled_functions(facts: ModuleFacts) -> frozenset[str]:
    """Functions that TorchScript, Triton or Numba compile: none of them knows our probes."""
    return frozenset(
        function
        for function, decorator in facts.decorated
        if decorator.rpartition(".")[2] in COMPILERS
    )


def _lies_in(function: str, functions: frozenset[str]) -> bool:
    parts = function.split(".<locals>.")
    return any(".<locals>.".join(parts[:count]) in functions for count in range(1, len(parts) + 1))


def _shared_spans(facts: ModuleFacts) -> frozenset[Span]:
    """Ranges that two calls claim: before Python 3.12, ``ast`` misplaces some within f-strings."""
    counts = Counter(call.span for call in facts.calls if call.quoted)
    return frozenset(span for span, count in counts.items() if count > 1)


def _numbered(
    facts: ModuleFacts, sketches: Iterable[Sketch], first_number: int
) -> tuple[Site, ...]:
    unique = {(sketch.probe, sketch.span): sketch for sketch in reversed(list(sketches))}
    ordered = sorted(unique.values(), key=_evaluation_order)
    return tuple(
        Site(
            number=number,
            probe=sketch.probe,
            kind=sketch.kind,
            location=Location(
                facts.path,
                sketch.span.line,
                sketch.span.column,
                sketch.span.end_line,
                sketch.span.end_column,
                sketch.function,
            ),
            callee=sketch.callee,
            subject=sketch.subject,
            attribute=sketch.attribute,
            arguments=dict(sketch.arguments),
        )
        for number, sketch in enumerate(ordered, first_number)
    )


def _evaluation_order(sketch: Sketch) -> tuple[int, int, int, int, int]:
    span = sketch.span
    return (span.end_line, span.end_column, -span.line, -span.column, _RANK[sketch.probe])
