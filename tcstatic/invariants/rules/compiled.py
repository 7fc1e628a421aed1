"""Rules as json, kept in a cache: to read sixty files of yaml takes half a second.

Examples are left out. Loads neither yaml nor the relations where the cache has an answer.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tcstatic.caching import write_whole
from tcstatic.invariants.rules.files import rules_hash
from tcstatic.model import Blame, Invariant

Load = Callable[[], tuple[Invariant, ...]]


def compiled_rules(
    paths: Sequence[Path], folder: Path, stamp: str, load: Load
) -> tuple[tuple[Invariant, ...], str]:
    """Return the rules that `paths` name, without examples, and a hash that tells them apart.

    They come from `folder`, else from `load()`, which may raise RuleError. `stamp` is of the
    program that reads them.
    """
    named = [str(path.absolute()) for path in paths]
    text = json.dumps([stamp, named, rules_hash(paths)])
    key = hashlib.sha256(text.encode()).hexdigest()
    entry = folder / f"{key}.json"
    try:
        return _unpacked(entry.read_bytes()), key
    except (OSError, ValueError, KeyError, TypeError):
        rules = tuple(replace(one, examples=(), support=None) for one in load())
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(entry, _packed(rules), private=True)
    return rules, key


def _packed(rules: Sequence[Invariant]) -> bytes:
    body = json.dumps([asdict(one) for one in rules]).encode()
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def _unpacked(content: bytes) -> tuple[Invariant, ...]:
    digest, _, body = content.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise ValueError("damaged")
    return tuple(map(_invariant, json.loads(body)))


def _invariant(fields: Mapping[str, Any]) -> Invariant:
    known = dict(fields, blame=tuple(Blame(**one) for one in fields["blame"]))
    for name in ("explains", "references", "examples", "feeds"):
        known[name] = tuple(known[name])
    return Invariant(**known)
