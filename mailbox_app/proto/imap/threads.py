"""THREAD's algorithms over plain values: REFERENCES and ORDEREDSUBJECT of RFC 5256 3, and the way to the answer's text.

Everything is iterative: a thread may be as deep as the mailbox is long. Time is linear but for the sorts. Walks up a thread
that look for loops share one budget; references that were made to exhaust it are not followed any more, which leaves
threads apart and never makes wrong ones.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

_MESSAGE_ID = re.compile(rb'<\s*+("(?:[^"\\\r\n]|\\.)*+"|[^\s<>"@]++)@([^\s<>]++)\s*+>')
_ESCAPED = re.compile(rb"\\(.)")
_WALK = 100
"""Steps up for each message, on average."""
_CHUNK = 10_000
"""What is sorted at once: sorting lets no other thread run."""
NONE = -1

T = TypeVar("T")


class Threadable(NamedTuple):
    """What threading knows of one message."""

    sent: int
    """Sent date as seconds since 1970."""
    subject: str
    """The base subject's collation key."""
    is_reply: bool
    message_id: bytes | None = None
    references: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Forest:
    """Roots and children by node; nodes from `count` on are dummies and stand at the top only."""

    count: int
    roots: Sequence[int]
    children: Mapping[int, Sequence[int]]
    """Of those that have any."""


def message_ids(value: bytes) -> list[bytes]:
    """The message ids of a field, without brackets, quotes taken off. RFC 5256 3, REFERENCES."""
    return [
        b"%b@%b" % (_ESCAPED.sub(rb"\1", local[1:-1]) if local.startswith(b'"') else local, domain)
        for local, domain in _MESSAGE_ID.findall(value)
    ]


def first_message_id(value: bytes) -> bytes | None:
    """The first one, or None."""
    match = _MESSAGE_ID.search(value)
    return message_ids(match[0])[0] if match else None


def gently_sorted(items: Iterable[T], key: Callable[[T], Any], *, reverse: bool = False) -> list[T]:
    """As `sorted`, in pieces short enough to let other threads run between them."""
    rest = list(items)
    if len(rest) <= _CHUNK:
        return sorted(rest, key=key, reverse=reverse)
    chunks = [sorted(rest[start : start + _CHUNK], key=key, reverse=reverse) for start in range(0, len(rest), _CHUNK)]
    return list(heapq.merge(*chunks, key=key, reverse=reverse))


def ordered_subject(messages: Sequence[Threadable]) -> Forest:
    """One thread for each base subject, all messages below its first. `messages` are in mailbox order."""
    ranks = _ranks(messages)
    threads: dict[str, list[int]] = {}
    for index in gently_sorted(range(len(messages)), ranks.__getitem__):
        threads.setdefault(messages[index].subject, []).append(index)
    children = {members[0]: members[1:] for members in threads.values() if len(members) > 1}
    # a dictionary keeps the order of its first members: that of their dates
    return Forest(len(messages), [members[0] for members in threads.values()], children)


def by_references(messages: Sequence[Threadable]) -> Forest:
    """The six steps. `messages` are in mailbox order."""
    links = _Links(messages)
    for index in range(len(messages)):
        links.follow(index)
    tree = _Tree(messages, links.pruned())
    tree.gather_subjects()
    return tree.sorted()


class _Links:
    """Steps 1 to 3: who is whose parent."""

    def __init__(self, messages: Sequence[Threadable]) -> None:
        self._messages = messages
        self._nodes: dict[bytes, int] = {}
        for index, message in enumerate(messages):
            if message.message_id is not None:
                self._nodes.setdefault(message.message_id, index)
        self._parents = [NONE] * len(messages)
        self._child_counts = [0] * len(messages)
        self._budget = _WALK * (len(messages) + 1_000)

    def follow(self, index: int) -> None:
        """Step 1 for one message."""
        parents = self._parents
        before = NONE
        for reference in self._messages[index].references:
            node = self._node(reference)
            if before != NONE and parents[node] == NONE:
                self._link(before, node)
            before = node
        if parents[index] != NONE:
            if parents[index] == before:
                return
            self._child_counts[parents[index]] -= 1
            parents[index] = NONE
        if before != NONE:
            self._link(before, index)

    def _node(self, message_id: bytes) -> int:
        node = self._nodes.get(message_id)
        if node is None:
            node = self._nodes[message_id] = len(self._parents)
            self._parents.append(NONE)
            self._child_counts.append(0)
        return node

    def _link(self, parent: int, child: int) -> None:
        """Unless it would make a loop."""
        if parent == child or (self._child_counts[child] and self._is_below(parent, child)):
            return
        self._parents[child] = parent
        self._child_counts[parent] += 1

    def _is_below(self, node: int, other: int) -> bool:
        parents = self._parents
        steps = 0
        while node != NONE and node != other:
            node = parents[node]
            steps += 1
            if steps > self._budget:
                return True
        self._budget -= steps
        return node == other

    def pruned(self) -> list[int]:
        """The parents when only dummies at the top are left, and those only with two children or more."""
        count, parents = len(self._messages), self._parents
        for node in range(count):
            path = []
            above = parents[node]
            while above >= count and parents[above] != NONE:
                path.append(above)
                above = parents[above]
            for dummy in path:  # the next one to come along has a short way
                parents[dummy] = above
            parents[node] = above
        families: dict[int, int] = {}
        for node in range(count):
            if parents[node] >= count:
                families[parents[node]] = families.get(parents[node], 0) + 1
        for node in range(count):
            if families.get(parents[node]) == 1:
                parents[node] = NONE
        return parents


class _Tree:
    """Steps 4 to 6."""

    def __init__(self, messages: Sequence[Threadable], parents: Sequence[int]) -> None:
        self._messages = messages
        self._count = count = len(messages)
        self._ranks = _ranks(messages)
        self._children: dict[int, list[int]] = {}
        self._next_dummy = len(parents)
        top: dict[int, None] = {}
        for node in range(count):
            if parents[node] == NONE:
                top[node] = None
            else:
                self._children.setdefault(parents[node], []).append(node)
                if parents[node] >= count:
                    top[parents[node]] = None
        self._roots = gently_sorted(top, self._rank)

    def _rank(self, node: int) -> int:
        """A message's place by date; a dummy's is that of its first child."""
        if node < self._count:
            return self._ranks[node]
        return min(map(self._ranks.__getitem__, self._children.get(node, ())), default=0)

    def _subject(self, node: int) -> str:
        if node >= self._count:
            node = min(self._children[node], key=self._ranks.__getitem__)
        return self._messages[node].subject

    def gather_subjects(self) -> None:
        """Step 5."""
        subjects = {root: self._subject(root) for root in self._roots}
        table: dict[str, int] = {}
        for root in self._roots:
            subject = subjects[root]
            known = table.setdefault(subject, root)
            if known < self._count and (
                root >= self._count or (self._messages[known].is_reply and not self._messages[root].is_reply)
            ):
                table[subject] = root
        table.pop("", None)
        gone: set[int] = set()
        for root in list(self._roots):
            subject = subjects[root]
            known = table.get(subject, root)
            if known != root:
                table[subject] = self._merge(known, root, gone)
        self._roots = [root for root in self._roots if root not in gone]

    def _merge(self, known: int, root: int, gone: set[int]) -> int:
        """Step 5.C for one thread; what stands in the table afterwards."""
        children = self._children
        if known >= self._count:
            if root >= self._count:
                children[known] += children.pop(root)
            else:
                children[known].append(root)
        elif self._messages[root].is_reply and not self._messages[known].is_reply:
            children.setdefault(known, []).append(root)
        else:
            children[self._next_dummy] = [known, root]
            gone.add(known)
            known = self._next_dummy
            self._next_dummy += 1
            self._roots.append(known)
        gone.add(root)
        return known

    def sorted(self) -> Forest:
        """Step 6."""
        place = self._ranks.__getitem__
        for siblings in self._children.values():
            if len(siblings) > 1:
                siblings[:] = gently_sorted(siblings, place)
        return Forest(self._count, gently_sorted(self._roots, self._rank), self._children)


def _ranks(messages: Sequence[Threadable]) -> list[int]:
    """Each message's place by sent date, then mailbox order. RFC 5256 2.2."""
    ranks = [0] * len(messages)
    for rank, index in enumerate(gently_sorted(range(len(messages)), lambda index: messages[index].sent)):
        ranks[index] = rank
    return ranks


def thread_text(forest: Forest, numbers: Sequence[int]) -> Iterator[str]:
    """The threads as THREAD tells them, in pieces; `numbers` are the messages' sequence numbers or UIDs."""
    for root in forest.roots:
        out: list[str] = []
        stack: list[int | str] = [")", root, "("]
        while stack:
            item = stack.pop()
            if isinstance(item, str):
                out.append(item)
                continue
            children = forest.children.get(item, ())
            if item < forest.count:
                out.append(str(numbers[item]))
                if children:
                    out.append(" ")
            if len(children) == 1:
                stack.append(children[0])
            else:
                for child in reversed(children):
                    stack += (")", child, "(")
        yield "".join(out)
