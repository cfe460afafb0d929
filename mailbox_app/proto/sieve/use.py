"""One use of a word in a script, with its tags and arguments sorted and checked for their kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mailbox_app.proto.sieve.grammar import Argument, Call


class Use:
    """What a row's `compile` gets."""

    __slots__ = ("_arguments", "call", "groups", "line", "tags")

    def __init__(
        self,
        call: Call,
        line: int,
        tags: Mapping[str, Argument | None],
        groups: Mapping[str, str],
        arguments: Sequence[Argument | None],
    ) -> None:
        self.call = call
        self.line = line
        self.tags = tags
        """By name; None for those without an argument."""
        self.groups = groups
        """The chosen tag of each group."""
        self._arguments = arguments

    def __getitem__(self, index: int) -> Argument:
        argument = self._arguments[index]
        assert argument is not None
        return argument

    def given(self, index: int) -> Argument | None:
        """An argument that may be missing."""
        return self._arguments[index]
