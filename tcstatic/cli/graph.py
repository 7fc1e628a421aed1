"""``tcstatic graph``: who calls whom in a program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tcstatic.program.callgraph import CallGraph


@click.command(short_help="Print who calls whom in a program.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option(
    "--output-format",
    type=click.Choice(["text", "json", "dot"]),
    default="text",
    show_default=True,
    help="text: callers, each with its callees below; json: {caller: [callees...]}; dot: for "
    "Graphviz.",
)
@click.option(
    "--unknown",
    is_flag=True,
    help="Show the calls whose callee is not known as well, with the line and the reason; in json "
    "as {caller: [[line, reason]...]} under the key <unknown>.",
)
def graph(paths: tuple[str, ...], output_format: str, unknown: bool) -> int:
    """Print who calls whom in the program that the files and folders of PATH make up.

    Names are dotted, from the folder of a script, or from the one around a package; a file stands
    for itself and for the local modules that it imports.
    """
    from tcstatic.program.callgraph import build, program_of
    from tcstatic.report import named_once

    files, root = program_of([Path(path) for path in paths])
    made = build(files, root)
    text = _FORMATS[output_format](made, unknown)
    click.echo(text, nl=bool(text))
    if not files:
        click.echo(f"tcstatic: no file of Python in {' '.join(paths)}", err=True)
    for skipped in made.skipped:
        line = named_once(str(skipped.path), skipped.reason)
        click.echo(f"tcstatic: file left out: {line}", err=True)
    return 2 if made.skipped else 0


def _json(made: CallGraph, unknown: bool) -> str:
    import json

    shown: dict[str, object] = dict(made.as_dict())
    if unknown:
        gaps = {name: made.unknown(name) for name in made.functions if made.unknown(name)}
        shown["<unknown>"] = gaps
    return json.dumps(shown, indent=2, ensure_ascii=False)


def _text(made: CallGraph, unknown: bool) -> str:
    lines = []
    for name, callees in made.as_dict().items():
        gaps = made.unknown(name) if unknown else ()
        if callees or gaps:
            lines.append(name)
            lines += [f"  {callee}" for callee in callees]
            lines += [f"  ? line {line}: {reason}" for line, reason in gaps]
    return "\n".join(lines)


def _dot(made: CallGraph, unknown: bool) -> str:
    lines = ["digraph calls {"]
    for name, callees in made.as_dict().items():
        lines.append(f"  {_quoted(name)};")
        lines += [f"  {_quoted(name)} -> {_quoted(callee)};" for callee in callees]
        for line, reason in made.unknown(name) if unknown else ():
            label = _quoted(f"line {line}: {reason}")
            lines.append(f"  {_quoted(name)} -> {label} [style=dashed];")
    return "\n".join([*lines, "}"])


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_FORMATS: dict[str, Callable[[CallGraph, bool], str]] = {
    "text": _text,
    "json": _json,
    "dot": _dot,
}
