"""Facts of a module -> the sites where probes go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from tcstatic.model import Location, Probe, Site
from tcstatic.program.source import ModuleFacts, Span
from tcstatic.rewrite.callsites import call_sites
from tcstatic.rewrite.inputsites import first_batches, input_sites
from tcstatic.rewrite.loopsites import comprehension_sites, loop_sites, store_sites
from tcstatic.rewrite.recordedcalls import OwnNames, can_be_recorded, parts_of, recorded_calls
from tcstatic.rewrite.sketch import Sketch
from tcstatic.rewrite.vocabulary import COMPILERS

# On one expression, its own value is seen before what is done with it.
_RANK: Final[dict[Probe, int]] = {"after": 0, "on": 1, "target": 1, "loop": 1}
_PARTS: Final = {"value": 1, "callee": 2, "argument": 2}


def select_sites(facts: ModuleFacts, first_number: int) -> tuple[Site, ...]:
    """The sites where a training event can happen, numbered from `first_number` in the order in
    which they are evaluated on a line."""
    if facts.mentions_probes:
        return ()
    shared = _shared_spans(facts)
    sketches: list[Sketch] = []
    given: list[Sketch] = []
    spans = {call.span for call in facts.calls if not call.quoted}
    for call in facts.calls:
        if call.span in shared or call.place == "annotation" or call.in_class:
            continue
        made = [*first_batches(call, facts), *call_sites(call, facts)]
        sketches += made
        given += input_sites(call, made, spans)
    sketches += loop_sites(facts)
    sketches += comprehension_sites(facts)
    sketches += store_sites(facts)
    sketches += given  # where a call stands in another's argument, its own site comes first
    compiled = _compiled_functions(facts)
    kept = (sketch for sketch in sketches if not _lies_in(sketch.function, compiled))
    return _numbered(facts, kept, first_number)


def select_calls(facts: ModuleFacts, own: OwnNames) -> tuple[Site, ...]:
    """The sites of `call` events, numbered from 1; see `merged`."""
    if facts.mentions_probes:
        return ()
    compiled = _compiled_functions(facts)
    sketches = recorded_calls(facts.calls, own)
    return _numbered(facts, (s for s in sketches if not _lies_in(s.function, compiled)), 1)


def merged(sites: Iterable[Site], calls: Iterable[Site], first_number: int) -> tuple[Site, ...]:
    """All sites of one file in the order in which they are evaluated on a line."""
    ordered = sorted((*sites, *calls), key=_evaluation_order)
    return tuple(replace(site, number=number) for number, site in enumerate(ordered, first_number))


def every_site(
    facts: ModuleFacts, first_number: int, *, recorded: bool = False
) -> tuple[Site, ...]:
    """Every call, method receiver, attribute assigned to or deleted, loop and ``with`` item: a test
    of the rewriter, not of training. `recorded`: with the parts of each call."""
    shared = _shared_spans(facts)
    sketches = list(_every_sketch(facts, shared))
    if recorded:
        calls = (call for call in facts.calls if can_be_recorded(call))
        sketches += (part for call in calls for part in parts_of(call))
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
    unique = {
        (one.probe, one.span, one.arguments.get("part")): one for one in reversed([*sketches])
    }
    sites = (_site(facts.path, sketch) for sketch in unique.values())
    return merged(sites, (), first_number)


def _site(path: str, sketch: Sketch) -> Site:
    span = sketch.span
    return Site(
        number=0,
        probe=sketch.probe,
        kind=sketch.kind,
        location=Location(
            path, span.line, span.column, span.end_line, span.end_column, sketch.function
        ),
        callee=sketch.callee,
        subject=sketch.subject,
        attribute=sketch.attribute,
        arguments=dict(sketch.arguments),
    )


def _evaluation_order(site: Site) -> tuple[int, int, int, int, int, int]:
    """What is done with a value comes after the value; the parts of calls after all else."""
    where, part = site.location, _PARTS.get(site.arguments.get("part", ""), 0)
    return (
        where.end_line,
        where.end_column,
        -where.line,
        -where.column,
        part,
        _RANK[site.probe],
    )
