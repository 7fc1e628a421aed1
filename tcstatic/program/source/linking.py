"""Names that come through the program's own modules: ``from common import nn``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from tcstatic.program.source.facts import Call, ModuleFacts

# How many modules a name is followed through; a cycle of imports must end.
_HOPS: Final = 4


def linked(facts: ModuleFacts, others: Mapping[str, ModuleFacts]) -> ModuleFacts:
    """The facts with callees followed through the imports of the program's other modules.

    `others` are those modules by their dotted name.
    """
    local_stars = tuple(others[star] for star in facts.stars if star in others)
    calls = tuple(_linked_call(call, local_stars, others) for call in facts.calls)
    return replace(facts, calls=calls)


def _linked_call(
    call: Call, stars: tuple[ModuleFacts, ...], others: Mapping[str, ModuleFacts]
) -> Call:
    callee = call.callee
    if not call.resolved:
        root, _, rest = call.callee_text.partition(".")
        for star in stars:
            if root in star.imports and all(
                part.isidentifier() for part in rest.split(".") if rest
            ):
                callee = f"{star.imports[root]}.{rest}".rstrip(".")
                break
        else:
            return call
    for _ in range(_HOPS):
        followed = _followed(callee, others)
        if followed == callee:
            break
        callee = followed
    if callee == call.callee:
        return call
    return replace(call, callee=callee, resolved=True, name=callee.rpartition(".")[2])


def _followed(callee: str, others: Mapping[str, ModuleFacts]) -> str:
    """One hop: ``common.nn.Linear`` is ``torch.nn.Linear`` if ``common`` imports it as ``nn``."""
    parts = callee.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module = others.get(".".join(parts[:length]))
        if module is not None:
            stands_for = module.imports.get(parts[length])
            return ".".join((stands_for, *parts[length + 1 :])) if stands_for else callee
    return callee
