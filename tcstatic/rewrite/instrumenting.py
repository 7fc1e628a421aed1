"""Text + sites -> instrumented text -> code with the original's positions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import CodeType

import libcst as cst

from tcstatic.errors import InputError
from tcstatic.model import Failed, RewriteOutcome, Rewritten, Site, Skipped, Unchanged
from tcstatic.program.source import (
    ModuleFacts,
    SourceText,
    Span,
    Tree,
    compile_probed,
    decode,
    parse,
    probes_in,
    read_tree,
)
from tcstatic.rewrite.inserting import Inserter, Part, import_place, unvalidated, with_import
from tcstatic.rewrite.losses import mended


class _Refused(Exception):
    """Carries the outcome of a file that is left alone."""

    def __init__(self, outcome: Skipped | Failed) -> None:
        super().__init__()
        self.outcome = outcome


def instrument(path: Path, source: bytes, sites: Sequence[Site]) -> RewriteOutcome:
    """Insert the probes of `sites` into one file, line for line.

    The result is checked before it is given away: without its probes and its import it must be the
    original's tree. Nothing is raised; a file that cannot be handled gives Skipped or Failed.
    """
    if not sites:
        return Unchanged(str(path))
    try:
        text = decode(source, str(path))
        tree = parse(text.text, str(path))
        with unvalidated():
            return _instrumented(path, text, tree, sites)
    except _Refused as refused:
        return refused.outcome
    except InputError as error:
        return Skipped(str(path), str(error))
    except RecursionError:
        return Failed(str(path), "nested too deeply")
    except Exception as error:
        return Failed(str(path), f"{type(error).__name__}: {error}")


def compile_instrumented(source: bytes, instrumented: str, filename: str) -> CodeType:
    """Compile an instrumented text so that tracebacks, carets included, are those of `source`.

    The import of the probes is left out. Raises Mismatch where the texts do not belong together.
    """
    return compile_probed(parse(decode(source).text), instrumented, filename)


def _instrumented(
    path: Path, text: SourceText, tree: Tree, sites: Sequence[Site]
) -> RewriteOutcome:
    facts = read_tree(path, text, tree, "")
    if facts.mentions_probes:
        return Skipped(str(path), "already instrumented")
    mend = mended(text.text)
    module = _parsed(path, mend.text)
    anchors = _anchored(facts, sites)
    place = import_place(module, facts.statements, facts.ordinals, sorted(anchors))
    inserter = Inserter(facts.statements, anchors, place.bound)
    changed = with_import(module.visit(inserter), place)
    rewritten = mend.restored(changed.code)
    found = probes_in(text, tree, rewritten)
    by_number = {site.number: site for site in sites}
    for probe in found:
        site = by_number[probe.number]
        if (probe.probe, probe.span) != (site.probe, site_span(site)):
            return Failed(str(path), f"probe {site.number} is misplaced in line {probe.span.line}")
    if len(found) != inserter.insertions:
        return Failed(str(path), f"{inserter.insertions} probes became {len(found)}")
    if not found:
        return Unchanged(str(path))
    return Rewritten(str(path), rewritten, len(found))


def _parsed(path: Path, text: str) -> cst.Module:
    try:
        module = cst.parse_module(text)
    except cst.ParserSyntaxError as error:
        line = f"{path}:{error.raw_line}"
        raise _Refused(Skipped(str(path), f"LibCST cannot read {line}")) from None
    if module.code != text:
        reason = "LibCST does not give it back byte for byte"
        raise _Refused(Skipped(str(path), reason))
    return module


def site_span(site: Site) -> Span:
    """The range that a site's location names."""
    where = site.location
    return Span(where.line, where.column, where.end_line, where.end_column)


def _anchored(facts: ModuleFacts, sites: Sequence[Site]) -> dict[int, list[tuple[Part, Site]]]:
    """Sites by the ordinal of the node that holds them. Raises LookupError for one without."""
    places = _places(facts)
    anchors: dict[int, list[tuple[Part, Site]]] = {}
    for site in sites:
        place = places.get((site.probe, site_span(site)))
        if place is None:
            raise LookupError(f"no {site.probe} site in line {site.location.line}")
        anchors.setdefault(place[0], []).append((place[1], site))
    return anchors


def _places(facts: ModuleFacts) -> dict[tuple[str, Span], tuple[int, Part]]:
    places: dict[tuple[str, Span], tuple[int, Part]] = {}
    for call in facts.calls:
        places.setdefault(("after", call.span), (call.ordinal, "value"))
        places.setdefault(("on", call.callee_span), (call.ordinal, "callee"))
        if call.receiver:
            places[("on", call.receiver)] = (call.ordinal, "receiver")
    for call in facts.calls:
        for index, argument in enumerate(call.arguments):
            places.setdefault(("after", argument.span), (call.ordinal, index))
            places.setdefault(("on", argument.span), (call.ordinal, index))
    for item in facts.withs:
        places.setdefault(("after", item.span), (item.ordinal, "value"))
    for loop in (*facts.loops, *facts.comprehensions):
        places[("loop", loop.iterable)] = (loop.ordinal, "value")
    for store in facts.stores:
        places[("target", store.base)] = (store.ordinal, "value")
    return places
