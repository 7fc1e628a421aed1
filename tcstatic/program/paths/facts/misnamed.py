"""Attributes that are set and never read, one slip of the fingers away from one that exists.

What is looked at is the text of the whole program: nothing in it reads the name, and a class of its
own has another that differs by two letters that changed places, by one that is left out, or by a
word more, and is given the very same value at first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_LEAST: Final = 6  # letters; shorter names are alike by chance
# What reads attributes whose names the text does not show, or takes any.
_DYNAMIC: Final = re.compile(
    r"\bvars\(|__dict__|__slots__|__[gs]etattr__|__getattribute__|[gs]etattr\([^,()]*,\s*[^\"'\s]"
)
_WORD: Final = re.compile(r"\w+")
_CALL: Final = re.compile(r"\w\(")
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)


class _Set(NamedTuple):
    """A statement that sets an attribute; `within` is the class, where it is one of `self`."""

    node: syntax.Assign
    holder: str
    name: str
    within: str
    method: str


@surveys
def misnamed(m: Machine, block: Block) -> None:
    """``misnamed`` of an assignment to an attribute that nothing reads."""
    modules = wording.modules(m, block)
    every = [(module, one) for module in modules for one in wording.once(module, _sets)]
    if not every or any(_DYNAMIC.search(module.text.text) for module in modules):
        return
    classes = {held: names for module in modules for held, names in _classes(module).items()}
    words: dict[str, int] = {}
    for module in modules:
        for word, count in wording.once(module, _words).items():
            words[word] = words.get(word, 0) + count
    for module, one in every:
        stored = sum(other.name == one.name for _, other in every)
        if len(one.name) < _LEAST or words.get(one.name, 0) != stored:
            continue
        for held in _of(module, one, classes):
            slips = (name for name in sorted(classes[held]) if _slips(one.name, name))
            other = next(slips, "") or _reset(one, held, modules)
            if other and (one.within != held or one.method != "__init__"):
                place = Place(module, one.node, title_around(module.tree, one.node.lineno))
                tell(block, "misnamed", place, name=one.name, other=other, type=held)
                break


def _reset(one: _Set, held: str, modules: list[Module]) -> str:
    """The attribute of a class that has a word more, or less, than the one that is set, and was
    given the same value when its object was made."""
    text = syntax.unparse(one.node.value).replace(f"{one.holder}.", "self.")
    if not _CALL.search(text):
        return ""
    for module in modules:
        for name, value in wording.once(module, _first).get(held, {}).items():
            shorter, longer = sorted((name, one.name), key=len)
            word = longer.startswith(f"{shorter}_") or longer.endswith(f"_{shorter}")
            if word and value == text:
                return name
    return ""


def _first(module: Module) -> dict[str, dict[str, str]]:
    """What the attributes of each class are given when an object is made, as text."""
    found: dict[str, dict[str, str]] = {}
    for node in statements_in(module.tree):
        if isinstance(node, syntax.ClassDef):
            given = found.setdefault(node.name, {})
            for one in node.body:
                for held in one.body if getattr(one, "name", "") == "__init__" else ():  # type: ignore[attr-defined]
                    for name, value in wording.pairs(held):
                        given[name.removeprefix("self.")] = syntax.unparse(value)
    return found


def _of(module: Module, one: _Set, classes: dict[str, set[str]]) -> list[str]:
    """The classes whose instance is given an attribute."""
    if one.within:
        return [one.within] if one.within in classes else []
    made = {
        wording.called(value) if isinstance(value, syntax.Call) else ""
        for statement in statements_in(module.tree)
        for name, value in wording.pairs(statement)
        if name == one.holder
    }
    if made:
        return sorted(made & classes.keys()) if made <= classes.keys() else []
    return sorted(classes)


def _words(module: Module) -> dict[str, int]:
    """How often each word stands in a text."""
    found: dict[str, int] = {}
    for word in _WORD.findall(module.text.text):
        found[word] = found.get(word, 0) + 1
    return found


def _sets(module: Module) -> tuple[_Set, ...]:
    return tuple(_in_body(module.tree.body, "", ""))


def _in_body(body: list[syntax.stmt], within: str, method: str) -> Iterator[_Set]:
    for one in wording.own(body):
        if isinstance(one, syntax.ClassDef):
            yield from _in_body(one.body, one.name, "")
        elif isinstance(one, _DEFINES):
            yield from _in_body(one.body, within, one.name)
        target: Any = one.targets[0] if isinstance(one, syntax.Assign) else None
        if isinstance(target, syntax.Attribute) and isinstance(one, syntax.Assign):
            holder = wording.name(target.value)
            if holder:
                own = within if holder == "self" else ""
                yield _Set(one, holder, target.attr, own, method)


def _classes(module: Module) -> dict[str, set[str]]:
    """The classes of a module, each with its methods and what it is given when it is made."""
    found = {}
    for node in statements_in(module.tree):
        if not isinstance(node, syntax.ClassDef):
            continue
        methods = [one for one in node.body if isinstance(one, _DEFINES)]
        names = {one.name for one in methods}
        for one in (part for held in methods if held.name == "__init__" for part in held.body):
            bound = wording.bound(one)
            names |= {name[5:] for name in bound if name.startswith("self.")}
        names |= {name for one in node.body for name in wording.bound(one)}
        found[node.name] = names
    return found


def _slips(name: str, other: str) -> bool:
    """Whether a name is another with two letters that changed places, or a letter more or less
    within a word."""
    if len(name) == len(other):
        apart = [at for at in range(len(name)) if name[at] != other[at]]
        if len(apart) != 2 or apart[1] != apart[0] + 1:
            return False
        first, second = name[apart[0]], name[apart[1]]
        return (first, second) == (other[apart[1]], other[apart[0]]) and (first + second).isalpha()
    shorter, longer = sorted((name, other), key=len)
    if len(longer) != len(shorter) + 1:
        return False
    gaps = [at for at in range(len(longer)) if longer[:at] + longer[at + 1 :] == shorter]
    return any(_is_within(longer, at) for at in gaps[:1]) and gaps[-1] < len(longer) - 1


def _is_within(name: str, at: int) -> bool:
    """Whether a letter has others of its word on both sides."""
    return 0 < at < len(name) - 1 and name[at - 1 : at + 2].isalpha()
