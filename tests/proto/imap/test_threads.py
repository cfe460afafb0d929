from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.proto.imap.threads import (
    Forest,
    Threadable,
    by_references,
    first_message_id,
    message_ids,
    ordered_subject,
    thread_text,
)


@dataclass(eq=False)
class Node:
    """A message or a dummy of the plain implementation."""

    index: int | None
    parent: "Node | None" = None
    children: list["Node"] = field(default_factory=list)


def naive_references(messages: list[Threadable]) -> str:
    """RFC 5256 3, word by word, without a thought for time."""
    table: dict[bytes, Node] = {}
    nodes = [Node(index) for index in range(len(messages))]
    for node, message in zip(nodes, messages, strict=True):
        if message.message_id is not None:
            table.setdefault(message.message_id, node)

    def link(parent: Node, child: Node) -> None:
        above: Node | None = parent
        while above is not None:
            if above is child:
                return
            above = above.parent
        child.parent = parent
        parent.children.append(child)

    for node, message in zip(nodes, messages, strict=True):
        line = [table.setdefault(reference, Node(None)) for reference in message.references]
        for before, after in pairwise(line):
            if after.parent is None:
                link(before, after)
        if node.parent is not None:
            node.parent.children.remove(node)
            node.parent = None
        if line:
            link(line[-1], node)
    everything = list(dict.fromkeys([*nodes, *table.values()]))
    roots = [node for node in everything if node.parent is None]

    def prune(siblings: list[Node], *, top: bool) -> list[Node]:
        kept = []
        for node in siblings:
            node.children = prune(node.children, top=False)
            if node.index is not None or (top and len(node.children) > 1):
                kept.append(node)
            else:
                kept += node.children
        return kept

    roots = prune(roots, top=True)

    def date(node: Node) -> tuple[int, int]:
        if node.index is None:
            return min(map(date, node.children))
        return messages[node.index].sent, node.index

    roots.sort(key=date)
    first = {node: node if node.index is not None else min(node.children, key=date) for node in roots}
    subjects: dict[str, Node] = {}

    def subject_of(node: Node) -> str:
        index = first[node].index
        assert index is not None
        return messages[index].subject

    def is_reply(node: Node) -> bool:
        return node.index is not None and messages[node.index].is_reply

    for node in roots:
        subject = subject_of(node)
        if not subject:
            continue
        known = subjects.get(subject)
        if known is None or (
            known.index is not None and (node.index is None or (is_reply(known) and not is_reply(node)))
        ):
            subjects[subject] = node
    result = list(roots)
    for node in roots:
        subject = subject_of(node)
        known = subjects.get(subject)
        if not subject or known is None or known is node:
            continue
        result.remove(node)
        if known.index is None and node.index is None:
            known.children += node.children
        elif known.index is None or (is_reply(node) and not is_reply(known)):
            known.children.append(node)
        else:
            result.remove(known)
            subjects[subject] = Node(None, None, [known, node])
            result.append(subjects[subject])

    def text(node: Node) -> str:
        children = sorted(node.children, key=date)
        own = "" if node.index is None else str(node.index + 1)
        gap = " " if own and children else ""
        if len(children) == 1:
            return own + gap + text(children[0])
        return own + gap + "".join(f"({text(child)})" for child in children)

    return "".join(f"({text(node)})" for node in sorted(result, key=date))


def shown(forest: Forest) -> str:
    return "".join(thread_text(forest, range(1, forest.count + 1)))


ids = st.sampled_from([b"a@x", b"b@x", b"c@x", b"d@x", b"e@x", b"f@x"])
threadables = st.builds(
    Threadable,
    st.integers(0, 5),
    st.sampled_from(["", "", "S", "T"]),
    st.booleans(),
    st.one_of(st.none(), ids),
    st.lists(ids, max_size=4),
)


@given(st.lists(threadables, max_size=9))
def test_references_agree_with_the_plain_implementation(messages: list[Threadable]) -> None:
    assert shown(by_references(messages)) == naive_references(messages)


@given(st.lists(threadables, max_size=9))
def test_every_message_is_in_one_thread(messages: list[Threadable]) -> None:
    for algorithm in (by_references, ordered_subject):
        numbers = shown(algorithm(messages)).replace("(", " ").replace(")", " ").split()
        assert sorted(map(int, numbers)) == list(range(1, len(messages) + 1))


def test_ordered_subject_has_no_grandchildren() -> None:
    messages = [
        Threadable(3, "B", False),
        Threadable(1, "A", False),
        Threadable(2, "B", True),
        Threadable(9, "B", True),
    ]
    assert shown(ordered_subject(messages)) == "(2)(3 (1)(4))"


def test_a_reply_joins_the_thread_of_its_subject() -> None:
    messages = [Threadable(1, "S", False, b"a@x"), Threadable(2, "S", True, b"b@x"), Threadable(3, "S", False, b"c@x")]
    assert shown(by_references(messages)) == "((1 2)(3))"


def test_a_hundred_thousand_deep_and_wide() -> None:
    count = 100_000
    chain = [Threadable(index, "", True, b"%d@x" % index, [b"%d@x" % (index - 1)]) for index in range(count)]
    assert shown(by_references(chain)).startswith("(1 2 3 4 ")
    assert shown(by_references(chain[::-1])).startswith("(100000 99999 ")
    wide = [Threadable(index, "S", bool(index), b"%d@x" % index, [b"0@x"]) for index in range(count)]
    assert shown(by_references(wide)).startswith("(1 (2)(3)")


def test_references_that_turn_in_circles_end() -> None:
    count = 3_000
    messages = [
        Threadable(index, "", True, b"%d@x" % index, [b"%d@x" % ((index * 7 + step) % count) for step in range(5)])
        for index in range(count)
    ]
    assert len(shown(by_references(messages)).replace("(", " ").replace(")", " ").split()) == count


def test_message_ids_are_normalised() -> None:
    assert message_ids(b' <"01K"@x.com>\r\n <b@y> junk <no id> <c@z') == [b"01K@x.com", b"b@y"]
    assert first_message_id(b"your message of today <q@r> and <s@t>") == b"q@r"
    assert first_message_id(b"nothing") is None
