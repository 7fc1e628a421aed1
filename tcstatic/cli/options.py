"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tcstatic.errors import InputError, input_problem

if TYPE_CHECKING:
    from tcstatic.model import ProbePlan, RunOptions

Function = TypeVar("Function", bound=Callable[..., Any])


def percent(ctx: click.Context, param: click.Parameter, value: str) -> float:
    """Return the share (0.01) that ``1%`` or ``1`` means: both are percentages."""
    try:
        number = float(value.strip().removesuffix("%"))
    except ValueError:
        number = math.nan
    if not 0 <= number <= 100:
        problem = f"got {value!r}; expected a percentage from 0 to 100, such as 1%"
        raise click.BadParameter(problem, ctx, param)
    return number / 100


def named(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Return a path, or several; an empty one is rather a variable of the shell that is not set."""
    if value == "" or (isinstance(value, tuple) and "" in value):
        raise click.BadParameter("got ''; expected a path", ctx, param)
    return value


def laid_out(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Return a layout of ranks that can be read, and that is for as many as the launcher has."""
    from tcstatic import launching
    from tcstatic.model import Mesh

    if not value:
        return value
    try:
        mesh = Mesh.from_text(value)
    except ValueError as error:
        raise click.BadParameter(f"got {value!r}: {error}", ctx, param) from None
    launch = launching.launch()
    if launch is not None and launch.world != mesh.world:
        problem = f"got {value!r}, which is for {mesh.world} ranks; expected {launch.world}"
        raise click.BadParameter(problem, ctx, param)
    return value


def watching(function: Function) -> Function:
    """Add the options about rules and about what is done with findings."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def judging(function: Function) -> Function:
    """Add the options about rules, and the reports."""
    for option in reversed(_OPTIONS[: _OPTIONS.index(_REPORT) + 1]):
        function = option(function)
    return function


_REPORT = click.option(
    "--report",
    multiple=True,
    metavar="PATH",
    callback=named,
    help="Write a report; its kind by suffix: .json or .txt. Repeatable.",
)
_OPTIONS = (
    click.option(
        "--rules",
        multiple=True,
        metavar="PATH",
        help="A rule file, or a folder of them, instead of the shipped rules. Repeatable.",
    ),
    click.option(
        "--select",
        multiple=True,
        metavar="RULES",
        help="Only these: codes, first letters of codes, or names; separated by commas.",
    ),
    click.option(
        "--ignore",
        multiple=True,
        metavar="RULES",
        help="Not these; wins over --select.",
    ),
    click.option(
        "--invariants",
        multiple=True,
        metavar="FILE",
        help="A file with further invariants, on top of the rules. Repeatable.",
    ),
    _REPORT,
    click.option(
        "--on-violation",
        type=click.Choice(["warn", "fail", "stop"]),
        default="warn",
        show_default=True,
        help="warn: the exit status stays the script's own; fail: it is 1 at the end if an error "
        "was found; stop: end with 1 at the first error, after the script's own cleanup.",
    ),
    click.option(
        "--overhead-budget",
        metavar="P%",
        callback=percent,
        default="1%",
        show_default=True,
        help="How much of the time of a training step watching may take, after the first 20 steps, "
        "which are watched in full.",
    ),
    click.option(
        "--mesh",
        metavar="AXES",
        callback=laid_out,
        default="",
        help="How ranks are laid out where the script does not show it, the last axis varying "
        "fastest: data=2,tensor=4. Axes are data, shard, tensor, context, pipeline, expert.",
    ),
    click.option(
        "--quiet",
        is_flag=True,
        help="Print nothing on stderr; the reports are written all the same.",
    ),
    click.option(
        "--include",
        multiple=True,
        metavar="PKG",
        help="A package outside of the script's folder to watch as well. Repeatable.",
    ),
    click.option(
        "--explain",
        is_flag=True,
        help="Show on stderr what is not watched, rule by rule and site by site, and why.",
    ),
)


def explain_plan(plan: ProbePlan) -> None:
    """Print what a plan leaves out, and why: rules as `lint --explain` does, then sites."""
    from tcstatic.model import RuleVerdict
    from tcstatic.report.snippets import explanation

    verdicts = [RuleVerdict(code, verdict) for code, verdict in sorted(plan.out_of_scope)]
    for line in explanation(verdicts, {}):
        click.echo(line.rstrip(), err=True)
    for one in plan.unprobed:
        place = f"{one.file}:{one.line}:{one.column}"
        click.echo(f"{place}: {one.kind} ({one.probe}) not probed: {one.reason}", err=True)
    sites, left = len(plan.sites), len(plan.unprobed)
    click.echo(f"tcstatic: {sites} of {sites + left} sites are probed", err=True)


def words(values: Iterable[str]) -> tuple[str, ...]:
    """Split comma-separated values."""
    return tuple(word.strip() for value in values for word in value.split(","))


def planning(options: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return what of the options a `Request` takes; names of packages are checked."""
    for package in options["include"]:
        if not all(part.isidentifier() for part in package.split(".")):
            problem = input_problem(
                "--include", got=repr(package), expected="the name of a package"
            )
            raise InputError(problem)
    return {
        "rules": options["rules"],
        "invariants": options["invariants"],
        "select": words(options["select"]),
        "ignore": words(options["ignore"]),
        "include": options["include"],
    }


def running(options: dict[str, Any]) -> RunOptions:
    """Return what of the options a run takes; raise InputError where no report can be written."""
    from pathlib import Path

    from tcstatic.model import RunOptions
    from tcstatic.report import check_path

    for path in options["report"]:
        check_path(Path(path))
    return RunOptions(
        reports=options["report"],
        on_violation=options["on_violation"],
        overhead_budget=options["overhead_budget"],
        quiet=options["quiet"],
        mesh=options["mesh"],
    )
