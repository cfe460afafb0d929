"""What can be wrong with a script: when it is read (`SieveError`, with all problems found) and while it runs (`Fault`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mailbox_app.errors import ProtocolError


class Problem(NamedTuple):
    """One mistake in a script."""

    line: int
    """From 1."""
    column: int
    """From 1, in characters."""
    message: str
    """A sentence without its full stop."""

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.message}"


class SieveError(ProtocolError):
    """A script that is not valid. `public_text` tells all problems, one line each."""

    def __init__(self, line: int, column: int, message: str, problems: Sequence[Problem] = ()) -> None:
        self.problems: Sequence[Problem] = tuple(problems) or (Problem(line, column, message),)
        super().__init__("sieve.invalid", "\n".join(str(problem) for problem in self.problems))
        self.line = line
        self.column = column
        self.message = message

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> SieveError:
        """One error for several problems; the first one is where it points."""
        return cls(*problems[0], problems=problems)


class Fault(Exception):
    """Something went wrong while a script ran; the line is added by the command that was running."""
