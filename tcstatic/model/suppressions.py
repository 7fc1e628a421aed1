"""What the comments of a program silence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from tcstatic.model.findings import Finding


@final
@dataclass(frozen=True, slots=True)
class Suppression:
    """What one comment silences: what is found in its file on the lines `first` to `last`.

    `words` are codes or names of rules, none where all is silenced (a bare ``noqa``).
    """

    file: str
    kind: Literal["noqa", "allow"]
    words: tuple[str, ...]
    first: int
    last: int

    def covers(self, finding: Finding) -> bool:
        """Return whether it silences a finding."""
        where = finding.where
        if where.file != self.file or not self.first <= where.line <= self.last:
            return False
        return self.is_blanket or any(self.names(word, finding) for word in self.words)

    @property
    def is_blanket(self) -> bool:
        """Return whether it silences whatever is found."""
        return self.kind == "noqa" and not self.words

    def names(self, word: str, finding: Finding) -> bool:
        """Return whether one of its words means the rule of a finding."""
        return word.upper() == finding.code or word == finding.name
