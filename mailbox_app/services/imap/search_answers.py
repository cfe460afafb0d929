"""How results are told: SEARCH, ESEARCH with what RETURN asked for, and what `$` stands for afterwards."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from mailbox_app.proto.imap.search import Returns
from mailbox_app.proto.imap.sequence import compress
from mailbox_app.services.imap.search_runs import Found

ALL = Returns(frozenset({"ALL"}))


def extended(correlator: str, returns: Returns, numbers: Sequence[int], modseq: int, *, uid: bool) -> str:
    """An ESEARCH line; `numbers` in the order of the result. RFC 9051 7.3.4, RFC 5267 3.1"""
    words = [f"ESEARCH ({correlator})"]
    options = returns.options
    if uid:
        words.append("UID")
    if numbers:
        if "MIN" in options:
            words.append(f"MIN {numbers[0]}")
        if "MAX" in options:
            words.append(f"MAX {numbers[-1]}")
        if "ALL" in options:
            words.append(f"ALL {compress(numbers)}")
    if returns.partial is not None:
        window = returns.partial.window(len(numbers))
        shown = compress(numbers[window.start : window.stop]) or "NIL"
        words.append(f"PARTIAL ({returns.partial.text} {shown})")
    if "COUNT" in options:
        words.append(f"COUNT {len(numbers)}")
    if modseq:
        words.append(f"MODSEQ {modseq}")
    return " ".join(words)


def tag_correlator(tag: bytes) -> str:
    """TAG of a search-correlator."""
    text = tag.decode("ascii").replace("\\", "\\\\").replace('"', '\\"')
    return f'TAG "{text}"'


def plain(word: str, numbers: Sequence[int], modseq: int = 0) -> str:
    """SEARCH or SORT with all numbers."""
    answer = "".join([f" {number}" for number in numbers])
    return f"{word}{answer} (MODSEQ {modseq})" if modseq else f"{word}{answer}"


def shown_places(returns: Returns, count: int) -> Sequence[int]:
    """The places in the result of what the answer names: by RFC 5182 2.4 and RFC 9394 3.2 also what SAVE saves."""
    options, window = returns.options, returns.partial
    if not count or options & {"ALL", "COUNT"} or (window is None and not options & {"MIN", "MAX"}):
        return range(count)
    places = set(window.window(count)) if window is not None else set()
    if "MIN" in options:
        places.add(0)
    if "MAX" in options:
        places.add(count - 1)
    return sorted(places)


def shown_modseq(returns: Returns, found: Found) -> int:
    """The highest modseq of what is told. RFC 7162 3.1.10"""
    return max((found.modseqs[place] for place in shown_places(returns, len(found.modseqs))), default=0)


def saved_uids(returns: Returns, uids: Sequence[int]) -> Sequence[int]:
    """What `$` stands for: ascending UIDs."""
    return array("I", sorted([uids[place] for place in shown_places(returns, len(uids))]))
