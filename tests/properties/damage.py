"""Real files, damaged: by tokens, lines, bytes, and by what is put around them."""

from __future__ import annotations

import keyword
import random
import re
from collections.abc import Callable


def damage(source: bytes, seed: int) -> bytes:
    """Return a real file with some tokens dropped, doubled, swapped, or bytes broken."""
    chance = random.Random(seed)
    for _ in range(chance.choice((1, 1, 1, 2, 8))):
        source = chance.choice(_DAMAGES)(source, chance)
    return source


def _tokens(source: bytes) -> list[bytes]:
    return re.findall(rb"\w+|\s+|[^\w\s]", source)


def _edited(edit: Callable[[list[bytes], random.Random], None]) -> Callable[..., bytes]:
    def run(source: bytes, chance: random.Random) -> bytes:
        tokens = _tokens(source)
        if len(tokens) > 2:
            edit(tokens, chance)
        return b"".join(tokens)

    return run


def _drop(tokens: list[bytes], chance: random.Random) -> None:
    del tokens[chance.randrange(len(tokens))]


def _double(tokens: list[bytes], chance: random.Random) -> None:
    place = chance.randrange(len(tokens))
    tokens.insert(place, tokens[place])


def _swap(tokens: list[bytes], chance: random.Random) -> None:
    one, other = chance.randrange(len(tokens)), chance.randrange(len(tokens))
    tokens[one], tokens[other] = tokens[other], tokens[one]


def _rename(tokens: list[bytes], chance: random.Random) -> None:
    """One name becomes another everywhere: objects merge that were apart."""
    names = _names(tokens)
    if len(names) > 1:
        old, new = chance.sample(names, 2)
        tokens[:] = [new if one == old else one for one in tokens]


def _names(tokens: list[bytes]) -> list[bytes]:
    words = {one for one in tokens if one.isascii() and one.decode().isidentifier()}
    return sorted(one for one in words if not keyword.iskeyword(one.decode()))


def _lines(source: bytes, chance: random.Random) -> bytes:
    """Swap, double or drop lines of one depth: most files stay Python, in another order."""
    lines = source.split(b"\n")
    one = chance.randrange(len(lines))
    depth = _depth(lines[one])
    same = [n for n, line in enumerate(lines) if line.strip() and _depth(line) == depth]
    other = chance.choice(same or [one])
    edit = chance.randrange(4)
    if edit == 0:
        del lines[one]
    elif edit == 1:
        lines.insert(other, lines[one])
    else:
        lines[one], lines[other] = lines[other], lines[one]
    return b"\n".join(lines)


def _depth(line: bytes) -> int:
    return len(line) - len(line.lstrip())


def _cut(source: bytes, chance: random.Random) -> bytes:
    return source[: chance.randrange(len(source) + 1)]


def _break(source: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(source) + 1)
    return source[:place] + chance.randbytes(chance.choice((1, 3))) + source[place:]


def _nest(source: bytes, chance: random.Random) -> bytes:
    """Put the file into functions, loops and conditions around it."""
    for _ in range(chance.choice((1, 3, 12))):
        head = chance.choice((b"def f():", b"for _ in g():", b"while x:", b"if y:", b"class A:"))
        source = head + b"\n" + b"\n".join(b" " + line for line in source.split(b"\n"))
    return source


def _deep(source: bytes, chance: random.Random) -> bytes:
    depth = chance.choice((50, 180, 2000))
    return source + b"\nloss = " + b"(" * depth + b"x" + b")" * depth + b".backward()\n"


def _chain(source: bytes, chance: random.Random) -> bytes:
    """Call oneself in more ways than one: what is inlined without bound never ends."""
    count = chance.choice((3, 8, 16))
    text = "".join(
        f"def r{i}(m, o):\n"
        f"    r{(i + 1) % count}(o, m)\n    r{(i + 2) % count}(m, o)\n    o.step()\n"
        for i in range(count)
    )
    return source + b"\n" + text.encode() + b"for _ in range(9): r0(model, optimizer)\n"


_DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_edited(one) for one in (_drop, _double, _swap, _rename)),
    _edited(_rename),
    _edited(_rename),
    *[_lines] * 8,
    _cut,
    _break,
    _nest,
    _deep,
    _chain,
)
