"""What LibCST loses of a file, taken out before it parses and put back into its result.

White space at the end of a file, and form feeds before the code of a line, do not come back from
LibCST 1.9. Insertions never stand there, and no line is added or removed, so both can be restored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

_TAIL: Final = re.compile(r"(?<![\\\s])\s+\Z")
_LINES: Final = re.compile("(\r\n|\r|\n)")
_FORM_FEEDS: Final = re.compile("[ \t]*\f[ \t\f]*")


@final
@dataclass(frozen=True, slots=True)
class Mended:
    """A text that LibCST keeps. `feeds` holds, by line, white space with form feeds and what stands
    in its place; within a string that spans lines it is put back all the same."""

    text: str
    tail: str
    feeds: Mapping[int, tuple[str, str]]

    def restored(self, text: str) -> str:
        """The text with what was taken out. Raises ValueError where it has other lines."""
        if self.feeds:
            parts = _LINES.split(text)
            for line, (whole, kept) in self.feeds.items():
                if 2 * line >= len(parts) or not parts[2 * line].startswith(kept):
                    raise ValueError(f"line {line + 1} does not begin as before")
                parts[2 * line] = whole + parts[2 * line][len(kept) :]
            text = "".join(parts)
        return text + self.tail


def mended(text: str) -> Mended:
    """Take out what LibCST would lose."""
    match = _TAIL.search(text)
    tail = match.group() if match else ""
    text = text[: len(text) - len(tail)]
    feeds: dict[int, tuple[str, str]] = {}
    if "\f" in text:
        parts = _LINES.split(text)
        for index in range(0, len(parts), 2):
            found = _FORM_FEEDS.match(parts[index])
            if found and found.end() < len(parts[index]):
                # For Python's tokenizer a form feed begins the line's indentation anew.
                whole, kept = found.group(), found.group().rpartition("\f")[2]
                feeds[index // 2] = (whole, kept)
                parts[index] = kept + parts[index][found.end() :]
        text = "".join(parts)
    return Mended(text, tail, feeds)
