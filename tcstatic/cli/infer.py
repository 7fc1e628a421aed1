"""``tcstatic infer``: traces of healthy runs -> a file of invariants."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tcstatic.cli.options import named
from tcstatic.errors import InputError, input_problem

if TYPE_CHECKING:
    from tcstatic.trace import Run


@click.command(short_help="Learn invariants from recordings of healthy runs.")
@click.argument("traces", metavar="TRACE...", nargs=-1, type=click.Path())
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False),
    callback=named,
    help="The file to write.",
)
@click.option(
    "--relations",
    metavar="NAME,...",
    default="",
    help="Only hypotheses of these relations (argument, count, effect, equal, flow, member, "
    "order, result).",
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
@click.option(
    "--merge",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Learn from the TRACEs and from the runs that FILE was learnt from: the same as from all "
    "of them at once, but that what you removed from FILE or edited stays so.",
)
@click.option(
    "--why",
    metavar="CODE",
    help="Print which observations made the precondition of this invariant: of the TRACEs, or of "
    "the file that --merge names.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="How many processes learn. Default: as many as there are cores, where it pays.",
)
@click.option(
    "--executor",
    metavar="ADDRESS",
    default="",
    help="A cluster that learns: dask://HOST:PORT (pip install 'tcstatic[dask]'). Its workers must "
    "see the same folders.",
)
def infer(
    traces: tuple[str, ...],
    output: str | None,
    relations: str,
    min_support: int,
    holdout: bool,
    merge: str | None,
    why: str | None,
    jobs: int | None,
    executor: str,
) -> int:
    """Learn invariants from the TRACEs of healthy runs (`tcstatic run --trace DIR`).

    More traces, of scripts of different kinds, give invariants that hold on other programs. The
    file is yaml as people write it: read it, edit it, and hand it to --invariants. What it rests on
    is kept beside it (NAME.observed.json.gz for NAME.yaml), for --merge and --why.
    """
    _check_given(traces, merge, output, why)
    if jobs and executor:
        raise InputError(input_problem("--jobs and --executor", expected="one of the two"))
    if output is not None:
        _check_output(Path(output))
    from tcstatic.infer import Wanted
    from tcstatic.infer.executors import executor_for
    from tcstatic.infer.session import lesson, relations_named

    wanted = Wanted(relations_named(relations), min_support, holdout)
    runs = _runs(traces)
    sizes = [run.count for run in runs.values()]
    with contextlib.ExitStack() as stack:
        worker = stack.enter_context(executor_for(jobs or 0, executor, sizes))
        tick = None
        if sys.stderr is not None and sys.stderr.isatty():
            bar = click.progressbar(length=len(runs), label="runs", file=sys.stderr)
            tick = stack.enter_context(bar).update
        found = lesson(
            {name: run.stretches for name, run in runs.items()},
            wanted,
            worker,
            earlier=Path(merge) if merge else None,
            progress=tick,
        )
    if why is not None:
        click.echo(found.why(why), nl=False)
    if output is not None:
        found.write(Path(output))
        click.echo(found.summary(Path(output)), err=why is not None)
    return 0


def _check_given(
    traces: tuple[str, ...], merge: str | None, output: str | None, why: str | None
) -> None:
    """Raise InputError where there is nothing to learn from, or nothing to tell."""
    if not traces and not merge:
        raise InputError(
            input_problem("no TRACE is given", expected="one or more, or --merge FILE")
        )
    if output is None and why is None:
        raise InputError(input_problem("no --output is given", expected="-o FILE, or --why CODE"))


def _check_output(path: Path) -> None:
    """Raise InputError where nothing can be written: told before hours of learning, not after."""
    folder = path.absolute().parent
    if not folder.is_dir():
        problem = f"there is no folder {folder}"
    elif not os.access(folder, os.W_OK | os.X_OK):
        problem = f"no right to write in {folder}"
    else:
        return
    raise InputError(
        input_problem(f"the invariants cannot be written ({problem})", where=str(path))
    )


def _runs(traces: tuple[str, ...]) -> dict[str, Run]:
    """The runs of all traces by name: that of the folder as it can be printed, and the rank where
    there are several."""
    from tcstatic.infer.merging import free_name
    from tcstatic.report.lines import shown
    from tcstatic.trace import open_trace

    found: dict[str, Run] = {}
    for folder in traces:
        trace = open_trace(folder)
        for run in trace.runs:
            name = shown(Path(folder).resolve().name)
            name = f"{name}:{run.facts.rank}" if len(trace.runs) > 1 else name
            found[free_name(name, found)] = run
    return found
