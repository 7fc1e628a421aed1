"""Invariants -> yaml that `load_rules` reads, one after another, as a person would write it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from tcstatic.model import Invariant

_WIDTH: Final = 100


class _Plain(yaml.SafeDumper):
    """Writes what is said twice twice: rule files have no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def rules_text(invariants: Sequence[Invariant]) -> str:
    """Return invariants as one yaml document."""
    text: str = yaml.dump(
        [_mapping(one) for one in invariants],
        Dumper=_Plain,
        sort_keys=False,
        allow_unicode=True,
        width=_WIDTH,
        default_flow_style=None,
    )
    return text


def _mapping(one: Invariant) -> dict[str, Any]:
    """The keys of a rule that say something, in the order in which they are read."""
    found: dict[str, Any] = {
        "code": one.code,
        "name": one.name,
        "relation": one.relation,
        "that": _plain(one.params),
        "when": one.when,
        "unless": one.unless,
        "seen": one.seen,
        "severity": one.severity,
        "message": one.message,
        "why": one.why,
        "cure": one.cure,
        "feeds": list(one.feeds),
        "status": one.status,
    }
    if one.support is not None:
        support = one.support
        found["support"] = {
            "held": support.held,
            "contexts": support.contexts,
            "excluded": support.excluded,
            "runs": list(support.runs),
        }
    return {key: value for key, value in found.items() if value not in ("", [], {})}


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in params.items()}
