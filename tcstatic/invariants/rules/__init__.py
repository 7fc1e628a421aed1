"""Rule files -> validated invariants; the only room that reads yaml.

`default_rules_folder` and `rules_hash` load no yaml: a process that only has to find out whether
its plan is still valid stays light. `load_rules` brings yaml in when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcstatic.invariants.rules.files import default_rules_folder, rule_files, rules_hash

if TYPE_CHECKING:
    from tcstatic.invariants.rules.loading import load_rules

__all__ = ["default_rules_folder", "load_rules", "rule_files", "rules_hash"]


def __getattr__(name: str) -> Any:
    if name == "load_rules":
        from tcstatic.invariants.rules.loading import load_rules

        return load_rules
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
