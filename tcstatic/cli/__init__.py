"""The command line: options and exit codes. One file a command.

Nothing heavy is imported here, so that ``tcstatic --help`` answers at once; the commands import
what they need when they run.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, final

import click

from tcstatic import __version__
from tcstatic.cli.check import check
from tcstatic.cli.explain import explain
from tcstatic.cli.graph import graph
from tcstatic.cli.infer import infer
from tcstatic.cli.lint import lint
from tcstatic.cli.rewrite import rewrite
from tcstatic.cli.rules import rules
from tcstatic.cli.run import run
from tcstatic.cli.trace import trace
from tcstatic.errors import TcstaticError, input_problem

__all__ = ["main", "tcstatic"]

_REFUSALS = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO),
        *(errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    }
)
EPILOG = (
    "Exit codes: of `run`, the script's own (1 with --on-violation fail or stop where an error was "
    "found); of `lint` and `check`, 1 for findings; else 0, or 2 for a usage or input error, 3 for "
    "a bug in tcstatic."
)


@final
class _Commands(click.Group):
    """To click, the end of any file is a Ctrl-D; that of a damaged one must be told."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EOFError as error:
            return _own_bug(error)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EPILOG)
@click.version_option(__version__, "-V", "--version", message="tcstatic %(version)s")
def tcstatic() -> None:
    """Find silent errors in PyTorch training: runs that do not crash, but train the wrong thing."""


for _command in (run, check, rewrite, lint, graph, trace, infer, explain, rules):
    tcstatic.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code. Errors are one line on stderr."""
    try:
        answer = tcstatic.main(args=arguments, prog_name="tcstatic", standalone_mode=False)
        if not callable(answer):
            _flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        return _say(_misuse(error), 2)
    except TcstaticError as error:
        return _say(str(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except OSError as error:
        return _refused(error)
    except Exception as error:
        return _own_bug(error)
    if isinstance(answer, int):
        return answer
    if not callable(answer):
        return 0
    # The script runs out here, where no handler of click's can get at what it raises.
    return _become(answer)


def _become(script: Callable[[], NoReturn]) -> int:
    """Run the user's script; it may have a module named click of its own.

    What the script raises ends in there; what comes back as an error was raised before it began.
    """
    for name in [name for name in sys.modules if name.partition(".")[0] == "click"]:
        del sys.modules[name]
    try:
        script()
    except TcstaticError as error:
        return _say(str(error), error.exit_code)


def _say(line: str, code: int) -> int:
    if sys.stderr is not None:  # print() would take stdout instead
        with contextlib.suppress(OSError):
            print(f"tcstatic: {line}", file=sys.stderr, flush=True)
    _drop_unwritten()
    return code


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _drop_unwritten() -> None:
    """What a stream cannot take, Python would try again at exit, and change the exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _misuse(error: click.ClickException) -> str:
    """A usage error in one line, with what to do where click does not say it."""
    line = " ".join(error.format_message().split())
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    if ctx is None or "; " in line:
        return line
    missing = re.match("No such command '(.+?)'", line)
    if missing is not None and isinstance(ctx.command, click.Group):
        return _no_command(missing[1], ctx.command)
    if re.search("Did you mean|^Invalid value", line):
        return line
    return f"{line.rstrip('.')}; `{ctx.command_path} --help` shows its options and arguments"


def _no_command(word: str, group: click.Group) -> str:
    expected = f"one of {', '.join(group.commands)}"
    cure = f"to watch this script, `tcstatic run {word}`" if word.endswith(".py") else ""
    return input_problem("no such command", got=repr(word), expected=expected, cure=cure)


def _refused(error: OSError) -> int:
    """Tell what the machine refuses, whoever asks, from a fault of ours."""
    if isinstance(error, BrokenPipeError):
        _drop_unwritten()
        return 1
    if error.errno in _REFUSALS:
        where = f"{error.filename}: " if error.filename else ""
        return _say(f"{where}cannot go on ({error.strerror})", 2)
    try:
        os.getcwd()
    except OSError:
        return _say("the current folder is gone; change into one that exists", 2)
    return _own_bug(error)


def _own_bug(error: Exception) -> int:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    damaged = _damaged_module(error)
    if damaged:
        problem = f"this compiled module is damaged ({reason})"
        cure = "delete it, and Python makes it again"
        return _say(input_problem(problem, where=damaged, cure=cure), 2)
    if os.environ.get("TCSTATIC_DEBUG"):
        import traceback

        traceback.print_exception(error)
    cure = "please report it with the traceback that TCSTATIC_DEBUG=1 prints"
    return _say(f"this is a bug in tcstatic ({reason}); {cure}", 3)


def _damaged_module(error: Exception) -> str:
    """The file of compiled code that could not be imported, if that is what has raised."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    frame = traceback.tb_frame if traceback is not None else None
    if frame is None or frame.f_code.co_name != "_compile_bytecode":
        return ""
    return str(frame.f_locals.get("bytecode_path") or "")
