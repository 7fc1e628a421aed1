"""``tcstatic trace``: what a recording holds."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from tcstatic.model import Event
    from tcstatic.trace import Run, Trace

Function = TypeVar("Function", bound=Callable[..., Any])
SHOWN: Final = 40  # events that `show` prints where no limit is given: about a screen
MOST_TEXT: Final = 60  # characters of an event's values in a table


@click.group()
def trace() -> None:
    """Look into what `tcstatic run --trace DIR` has recorded."""


def _choosing(function: Function) -> Function:
    for option in reversed(_FILTERS):
        function = option(function)
    return function


_FILTERS = (
    click.option("--kind", multiple=True, metavar="KIND", help="Only these events. Repeatable."),
    click.option("--step", metavar="N[:M]", help="Only this step, or from N to M."),
    click.option(
        "--rank", type=int, multiple=True, metavar="N", help="Only this rank. Repeatable."
    ),
    click.option(
        "--limit", type=click.IntRange(min=0), metavar="N", help="At most so many events."
    ),
)


@trace.command(short_help="Say what was recorded, and what was dropped.")
@click.argument("folder", metavar="DIR")
@click.option(
    "--output-format", type=click.Choice(["text", "json"]), default="text", show_default=True
)
def info(folder: str, output_format: str) -> int:
    """Say what was recorded: runs, versions, events by kind, what was dropped, and sizes."""
    import json

    from tcstatic.report.lines import shown
    from tcstatic.trace import open_trace

    found = _info(open_trace(folder))
    if output_format == "json":
        click.echo(json.dumps(found, indent=2))
        return 0
    for name in ("schema", "command", "script", "versions"):
        click.echo(shown(f"{name}: {found[name]}"))
    for run in found["runs"]:
        for line in (_run_line(run), *_run_details(run)):
            click.echo(shown(line))
    return 0


def _run_details(run: dict[str, Any]) -> Iterator[str]:
    for kind, count in run["kinds"].items():
        yield f"  {count:>9,}  {kind}"
    for one in run["dropped"]:
        yield f"  dropped: {one['count']:,} {one['kind']}, from event {one['since']} on"
    for one in run["thinned"]:
        yield f"  not every {one['event']} was told: {one['reason']}"
    if run["problem"]:
        yield f"  {run['problem']}"


@trace.command(short_help="Print events as a table.")
@click.argument("folder", metavar="DIR")
@_choosing
def show(folder: str, **filters: Any) -> int:
    """Print events as a table, merged by step where there are several ranks."""
    from tcstatic.report.lines import shown
    from tcstatic.trace import open_trace

    limit = SHOWN if filters["limit"] is None else filters["limit"]
    events = _chosen(open_trace(folder), filters)
    head = ("rank", "step", "epoch", "event", "where", "objects", "values")
    rows = [head, *(tuple(map(shown, _row(one))) for one in islice(events, limit))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
    if filters["limit"] is None and next(events, None) is not None:
        click.echo(f"tcstatic: the first {limit} events; --limit N shows more", err=True)
    return 0


@trace.command()
@click.argument("folder", metavar="DIR")
@_choosing
@click.option("-o", "--output", metavar="FILE", help="Write to a file instead of stdout.")
def export(folder: str, output: str | None, **filters: Any) -> int:
    """Write events as json lines, each with all that is known of it."""
    from tcstatic.trace import open_trace

    lines = map(_line, islice(_chosen(open_trace(folder), filters), filters["limit"]))
    if output is not None:
        _write(output, lines)
        return 0
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has seen enough; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _write(output: str, lines: Iterator[str]) -> None:
    from tcstatic.errors import InputError, input_problem

    try:
        with open(output, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
    except OSError as error:
        got = error.strerror or type(error).__name__
        raise InputError(input_problem("cannot be written", where=output, got=got)) from None


def _info(found: Trace) -> dict[str, Any]:
    from tcstatic.model import TRACE_SCHEMA

    first = found.runs[0].facts
    return {
        "schema": TRACE_SCHEMA,
        "command": first.command,
        "script": first.script,
        "versions": f"tcstatic {first.tcstatic}, Python {first.python}, torch {first.torch or '-'}",
        "runs": [_run_info(run) for run in found.runs],
    }


def _run_info(run: Run) -> dict[str, Any]:
    kinds: Counter[str] = Counter()
    last = -1
    for names, steps in run.counted():
        kinds.update(names)
        last = max(last, *steps)
    facts = run.facts
    return {
        "name": facts.name,
        "rank": facts.rank,
        "world_size": facts.world_size,
        "finished": facts.finished,
        "exit_status": facts.exit_status,
        "seed": facts.seed,
        "events": run.count,
        "steps": kinds["optimizer.step"],
        "last_step": last,
        "sites": len(facts.sites),
        "bytes": run.size,
        "bytes_per_event": round(run.size / run.count, 1) if run.count else None,
        "kinds": dict(kinds.most_common()),
        "dropped": [
            {"kind": one.kind, "count": one.count, "since": one.since} for one in facts.dropped
        ],
        "thinned": [{"event": kind, "reason": why} for kind, why in facts.probes.thinned],
        "problem": facts.problem,
        "environment": dict(facts.environment),
    }


def _run_line(run: dict[str, Any]) -> str:
    end = "was killed" if not run["finished"] else f"exit status {run['exit_status']}"
    per_event = f", {run['bytes_per_event']} bytes an event" if run["events"] else ""
    return (
        f"rank {run['rank']} of {run['world_size']}: {run['events']:,} events,"
        f" {run['steps']:,} optimizer steps, {run['sites']} sites,"
        f" {run['bytes']:,} bytes{per_event}; {end}"
    )


def _chosen(found: Trace, filters: dict[str, Any]) -> Iterator[Event]:
    from tcstatic.errors import InputError, input_problem
    from tcstatic.model import EVENT_KINDS

    kinds = frozenset(filters["kind"]) or None
    for kind in sorted(kinds or ()):
        if kind not in EVENT_KINDS:
            expected = "one of " + " ".join(sorted(EVENT_KINDS))
            raise InputError(input_problem("--kind", got=repr(kind), expected=expected))
    first, last = _steps(filters["step"])
    ranks = frozenset(filters["rank"])
    recorded = sorted(run.facts.rank for run in found.runs)
    for rank in sorted(ranks.difference(recorded)):
        expected = "one of " + " ".join(map(str, recorded))
        raise InputError(input_problem("--rank is not recorded", got=str(rank), expected=expected))
    for event in found.events(kinds, by_step=len(found.runs) > 1):
        if first <= event.step <= last and (not ranks or event.rank in ranks):
            yield event


def _steps(text: str | None) -> tuple[float, float]:
    if text is None:
        return 0, float("inf")
    first, colon, last = text.partition(":")
    try:
        start = int(first or 0)
        end = (int(last) if last else float("inf")) if colon else start
        if end < start:
            raise ValueError(text)
        return start, end
    except ValueError:
        problem = f"--step: got {text!r}; expected a step, or a range such as 10:20"
        raise click.UsageError(problem) from None


def _row(event: Event) -> tuple[str, ...]:
    where = event.where
    values = " ".join(f"{key}={value}" for key, value in event.values.items())
    objects = " ".join(
        f"{role}:{','.join(map(str, numbers[:3]))}{'...' if len(numbers) > 3 else ''}"
        for role, numbers in event.subjects.items()
        if role != "heard"
    )
    return (
        str(event.rank),
        str(event.step),
        "" if event.epoch is None else str(event.epoch),
        event.kind,
        "" if where is None else f"{where.file}:{where.line}",
        objects,
        values if len(values) <= MOST_TEXT else f"{values[: MOST_TEXT - 3]}...",
    )


def _line(event: Event) -> str:
    import json
    from dataclasses import asdict

    from tcstatic.report.jsonform import plain

    data = {
        "rank": event.rank,
        "sequence": event.sequence,
        "kind": event.kind,
        "step": event.step,
        "epoch": event.epoch,
        "where": None if event.where is None else asdict(event.where),
        "subjects": event.subjects,
        "values": event.values,
        "context": event.context.fields,
        "inferred": event.context.inferred,
        "members": [one._asdict() for one in event.members],
    }
    return json.dumps(plain(data), allow_nan=False)
