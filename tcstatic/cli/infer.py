"""``tcstatic infer``: traces of healthy runs -> a file of invariants."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tcstatic.infer import Events, Inferred
    from tcstatic.model import Event, RunView


@click.command()
@click.argument("traces", metavar="TRACE...", nargs=-1, required=True, type=click.Path())
@click.option(
    "-o", "--output", required=True, type=click.Path(dir_okay=False), help="The file to write."
)
@click.option(
    "--relations",
    metavar="NAME,...",
    default="",
    help="Only hypotheses of these relations (argument, count, effect, equal, member, order, "
    "result).",
)
@click.option(
    "--min-support",
    type=click.IntRange(min=1),
    default=7,
    show_default=True,
    help="How often a relation must have held, at least.",
)
@click.option(
    "--holdout/--no-holdout",
    default=True,
    show_default=True,
    help="Drop what is violated in a run when it is learnt from the other runs alone.",
)
def infer(
    traces: tuple[str, ...], output: str, relations: str, min_support: int, holdout: bool
) -> int:
    """Learn invariants from the TRACEs of healthy runs (`tcstatic run --trace DIR`).

    More traces, of scripts of different kinds, give invariants that hold on other programs. The
    file is yaml as people write it: read it, edit it, and hand it to --invariants.
    """
    from tcstatic.errors import InputError, input_problem
    from tcstatic.infer import Wanted
    from tcstatic.infer import infer as infer_from
    from tcstatic.invariants.relations import RELATIONS
    from tcstatic.invariants.rules.writing import write_rules

    named = tuple(one.strip() for one in relations.split(",") if one.strip())
    for name in named:
        if name not in RELATIONS:
            raise InputError(
                input_problem(
                    f"unknown relation {name!r}", expected=f"some of {', '.join(sorted(RELATIONS))}"
                )
            )
    runs = _runs(traces)
    wanted = Wanted(named, min_support, holdout)
    with contextlib.ExitStack() as stack:
        events: dict[str, Events] = {name: run.events for name, run in runs.items()}
        if sys.stderr.isatty():
            bar = click.progressbar(length=len(runs), label="runs", file=sys.stderr)
            tick = stack.enter_context(bar).update
            events = {name: _ticking(one, tick) for name, one in events.items()}
        found = infer_from(events, wanted)
    try:
        write_rules(Path(output), found.invariants, heading=_heading(found, list(runs)))
    except OSError as error:
        raise InputError(
            input_problem("the invariants cannot be written", where=output, got=str(error.strerror))
        ) from None
    click.echo(_summary(found, output))
    return 0


def _runs(traces: tuple[str, ...]) -> dict[str, RunView]:
    """The runs of all traces by name: that of the folder, and the rank where there are several."""
    from tcstatic.trace import open_trace

    found: dict[str, RunView] = {}
    for folder in traces:
        trace = open_trace(folder)
        for run in trace.runs:
            name = Path(folder).resolve().name
            name = f"{name}:{run.facts.rank}" if len(trace.runs) > 1 else name
            while name in found:
                name += "'"
            found[name] = run
    return found


def _ticking(
    events: Callable[[], Iterable[Event]], tick: Callable[[int], None]
) -> Callable[[], Iterable[Event]]:
    def through() -> Iterable[Event]:
        yield from events()
        tick(1)

    return through


def _heading(found: Inferred, runs: list[str]) -> str:
    return (
        f"Learnt by tcstatic infer from {found.events} events of {len(runs)} runs "
        f"({', '.join(runs)}): {len(found.invariants)} of {found.hypotheses} hypotheses."
    )


def _summary(found: Inferred, output: str) -> str:
    counts: dict[str, int] = {}
    for one in found.invariants:
        counts[one.relation] = counts.get(one.relation, 0) + 1
    by = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
    return (
        f"tcstatic: {len(found.invariants)} invariants ({by or 'none'}) of {found.hypotheses} "
        f"hypotheses, from {found.events} events: {output}"
    )
