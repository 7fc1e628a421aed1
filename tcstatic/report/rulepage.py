"""The page of a rule, made from its file: what it does, why, cure, examples, who decides it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from tcstatic.model import Example, Invariant

_LOOK_ALIKE: Final = "look-alike"
# How the examples of rule files mark the line to mend.
_EXPECTED: Final = re.compile(r"# expect: (\w+)(?: step=(\d+))?")
_COMMANDS: Final = {
    "lint": "`tcstatic lint` decides it from the source where that is possible",
    "run": "`tcstatic run` watches it while the program trains",
}


def rule_page(rule: Invariant, fix: str = "") -> str:
    """Return the page as markdown; `fix` says what its fix does, and whether that is safe."""
    return "\n".join(_lines(rule, fix)) + "\n"


def _lines(rule: Invariant, fix: str) -> Iterator[str]:
    yield f"# {rule.name} ({rule.code})"
    yield ""
    yield f"{rule.severity.capitalize()}; {rule.status}."
    yield from _section("What it finds", _sentence(rule.message))
    yield from _section("Why that is bad", rule.why)
    yield from _section("What to do", rule.cure)
    yield from _section("Fix", fix or rule.fix or "None is offered.")
    yield from _section("Who decides it", *(f"- {_COMMANDS[one]}" for one in rule.feeds))
    if rule.sometimes:
        said = f"- wrong on some paths only: `tcstatic lint` tells it as a {rule.sometimes}"
        yield said
    if rule.torch:
        yield f"- it is about torch {rule.torch}"
    if rule.precondition:
        yield from _section("When it applies", f"`{rule.precondition}`")
    yield from _examples(rule)
    yield from _section("To allow it", *_allowing(rule))
    if rule.explains:
        yield from _section("What follows from it", ", ".join(rule.explains))
    if rule.references:
        yield from _section("References", *(f"- {one}" for one in rule.references))


def _allowing(rule: Invariant) -> Iterator[str]:
    comment = f"`# noqa: {rule.code}`, or `# tcstatic: allow {rule.name}`"
    yield f"- {comment} with the reason behind it, on the line"
    if "run" in rule.feeds:
        yield f"- for a whole `tcstatic run`: `--ignore {rule.code}`"


def _sentence(message: str) -> str:
    """A message with its placeholders as words."""
    text = message.replace("{", "<").replace("}", ">")
    return f"{text[:1].upper()}{text[1:]}."


def _section(title: str, *lines: str) -> Iterator[str]:
    yield ""
    yield f"## {title}"
    yield ""
    yield from lines


def _examples(rule: Invariant) -> Iterator[str]:
    groups = {
        "Bad": [one for one in rule.examples if one.kind == "bad"],
        "Good": [
            one
            for one in rule.examples
            if one.kind == "good" and not one.title.startswith(_LOOK_ALIKE)
        ],
        "Look-alikes that are fine": [
            one for one in rule.examples if one.title.startswith(_LOOK_ALIKE)
        ],
    }
    for title, examples in groups.items():
        if examples:
            first, *others = map(_example, examples)
            yield from _section(title, *first)
            for one in others:
                yield ""
                yield from one


def _example(example: Example) -> Iterator[str]:
    if example.title:
        yield f"{example.title[:1].upper()}{example.title[1:]}:"
        yield ""
    yield "```python"
    yield _EXPECTED.sub(_told, example.text.rstrip("\n"))
    yield "```"


def _told(expected: re.Match[str]) -> str:
    code, step = expected.groups()
    return f"# {code}" + (f", in step {step}" if step else "")


def rule_data(rule: Invariant) -> dict[str, Any]:
    """Return a rule as plain data for machines, without its examples."""
    return {
        "code": rule.code,
        "name": rule.name,
        "severity": rule.severity,
        "sometimes": rule.sometimes,
        "message": rule.message,
        "why": rule.why,
        "cure": rule.cure,
        "feeds": list(rule.feeds),
        "fix": rule.fix,
        "torch": rule.torch,
        "explains": list(rule.explains),
        "status": rule.status,
    }
