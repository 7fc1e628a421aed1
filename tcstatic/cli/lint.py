"""``tcstatic lint``: what the source alone decides."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from tcstatic.cli.options import words

if TYPE_CHECKING:
    from tcstatic.lint.discovery import Discovered
    from tcstatic.lint.linting import Progress, Request
    from tcstatic.lint.outcome import Outcome

Function = TypeVar("Function", bound=Callable[..., Any])

FORMATS: Final = ("text", "json", "sarif", "github", "concise")
# Fewer files than these are done before anybody wonders.
_LONG_RUN: Final = 50
_LIST: Final[dict[str, Any]] = {"multiple": True, "metavar": "RULES"}

_OPTIONS: Final = (
    click.option("--output-format", type=click.Choice(FORMATS), help="How findings are written."),
    click.option("--select", **_LIST, help="Only these: codes, first letters of codes, or names."),
    click.option("--extend-select", **_LIST, help="These as well as the selected ones."),
    click.option("--ignore", **_LIST, help="Not these; wins over --select."),
    click.option(
        "--exclude",
        multiple=True,
        metavar="PATTERN",
        help="Files and folders to leave out, as in a .gitignore. Repeatable.",
    ),
    click.option(
        "--rules",
        multiple=True,
        metavar="PATH",
        help="A rule file, or a folder of them, instead of the shipped rules. Repeatable.",
    ),
    click.option(
        "--invariants",
        multiple=True,
        metavar="FILE",
        help="A file with further invariants, on top of the rules. Repeatable.",
    ),
    click.option("--fix", is_flag=True, help="Mend what can be mended safely, in the files."),
    click.option("--unsafe-fixes", is_flag=True, help="With --fix or --diff: all fixes."),
    click.option("--diff", is_flag=True, help="Show what --fix would change, and write nothing."),
    click.option("--baseline", default="", metavar="FILE", help="Findings that are known."),
    click.option("--write-baseline", is_flag=True, help="Write all findings to the baseline."),
    click.option("--statistics", is_flag=True, help="Count the findings of each rule."),
    click.option("--explain", is_flag=True, help="Show for each rule what is known, and why."),
    click.option("--stdin-filename", metavar="PATH", help="What `-` is the text of."),
    click.option("--jobs", type=click.IntRange(1), help="Processes; as many as cores by default."),
    click.option("--no-cache", is_flag=True, help="Neither read nor write cached analyses."),
    click.option("--isolated", is_flag=True, help="Read no pyproject.toml."),
    click.option("--show-settings", is_flag=True, help="Print the settings, and lint nothing."),
    click.option("--exit-zero", is_flag=True, help="Exit with 0 even if something was found."),
)


def linting(function: Function) -> Function:
    """Add the options of `lint`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.command(short_help="Find what is wrong with training; run nothing.")
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@linting
def lint(paths: tuple[str, ...], **options: Any) -> int:
    """Find what is wrong with training in PATHs (files, folders; `-` is standard input).

    Nothing is run. Of the files that are named, or lie below a folder, findings are told; what they
    import, and what imports them, is read as well. Exit codes: 0 clean, 1 findings (a note is
    none), 2 a usage or input error.
    """
    _check(paths, options)
    overlay = _standard_input(paths, options["stdin_filename"])
    discovered = _discovered(paths or (".",), options, overlay)
    if options["show_settings"]:
        from tcstatic.cli.lintoutput import show_settings

        return show_settings(discovered)
    if not discovered.files and not discovered.unreadable:
        click.echo(f"tcstatic: nothing to lint in {' '.join(paths or ('.',))}", err=True)
    given = (options["stdin_filename"] or "-",) if overlay else paths or (".",)
    return _lint(given, _request(discovered, options, overlay), options)


def _lint(paths: tuple[str, ...], request: Request, options: dict[str, Any]) -> int:
    from tcstatic import pipeline
    from tcstatic.cli.lintoutput import Shown, show

    with _Bar(len(request.discovered.files)) as progress:
        outcome = pipeline.lint(request, paths, progress, explained=options["explain"])
    shown = Shown(
        format=_format(request.discovered, options),
        texts={**request.overlay, **outcome.contents},
        old_texts=request.overlay,
        from_stdin=next(iter(request.overlay), None),
        diff=options["diff"],
        fix=options["fix"],
        unsafe=options["unsafe_fixes"],
        statistics=options["statistics"],
    )
    show(outcome, shown)
    return _exit_code(outcome, options)


def _exit_code(outcome: Outcome, options: dict[str, Any]) -> int:
    code = outcome.exit_code
    if options["diff"] and code < 2:
        code = int(bool(outcome.contents))
    if options["write_baseline"] and code == 1:
        code = 0
    return 0 if options["exit_zero"] and code == 1 else code


def _check(paths: tuple[str, ...], options: dict[str, Any]) -> None:
    if options["unsafe_fixes"] and not (options["fix"] or options["diff"]):
        raise click.UsageError("--unsafe-fixes changes nothing by itself; expected --fix or --diff")
    if options["write_baseline"] and (options["fix"] or options["diff"]):
        raise click.UsageError("--write-baseline with --fix or --diff; expected one of them")
    if options["stdin_filename"] and "-" not in paths:
        raise click.UsageError("--stdin-filename without standard input; expected `-` as PATH")
    if "-" in paths and len(paths) > 1:
        raise click.UsageError("standard input is linted alone; expected no PATH besides `-`")


def _standard_input(paths: tuple[str, ...], named: str | None) -> dict[Path, bytes]:
    if paths != ("-",):
        return {}
    return {Path(named or "stdin.py").absolute(): sys.stdin.buffer.read()}


def _discovered(
    paths: tuple[str, ...], options: dict[str, Any], overlay: dict[Path, bytes]
) -> Discovered:
    from tcstatic.lint.discovery import discover

    return discover(
        () if overlay else paths,
        isolated=options["isolated"],
        exclude=options["exclude"],
        texts=tuple(overlay),
    )


def _request(
    discovered: Discovered, options: dict[str, Any], overlay: dict[Path, bytes]
) -> Request:
    from tcstatic.lint.linting import Request

    return Request(
        discovered=discovered,
        select=words(options["select"]),
        ignore=words(options["ignore"]),
        extend_select=words(options["extend_select"]),
        rules=options["rules"],
        invariants=options["invariants"],
        jobs=options["jobs"],
        cache=not options["no_cache"],
        baseline=options["baseline"],
        write_baseline=options["write_baseline"],
        fix=options["fix"] or options["diff"],
        unsafe_fixes=options["unsafe_fixes"],
        overlay=overlay,
    )


def _format(discovered: Discovered, options: dict[str, Any]) -> str:
    named = (one.settings.output_format for one in discovered.projects)
    return options["output_format"] or next(filter(None, named), "text")


class _Bar:
    """A progress bar on a terminal, for a long run; state: the bar, and how much it shows."""

    def __init__(self, files: int) -> None:
        self._wanted = files >= _LONG_RUN and sys.stderr is not None and sys.stderr.isatty()
        self._bar: Any = None
        self._shown = 0
        self._files = files

    def __enter__(self) -> Progress | None:
        if not self._wanted:
            return None
        self._bar = click.progressbar(length=self._files, label="tcstatic", file=sys.stderr)
        self._bar.__enter__()
        return self._tick

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)

    def _tick(self, done: int, _: int) -> None:
        self._bar.update(done - self._shown)
        self._shown = done
