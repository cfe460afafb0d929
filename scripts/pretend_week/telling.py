"""Prints the pretend week."""

from __future__ import annotations

from collections import Counter

from cast import Letter
from observed import Change, Observed, Try
from peers import DAY, HOUR

_TEXT_CHARACTERS = 78
_CHANGES = 14


def tell(observed: Observed, *, everything: bool) -> None:
    """All of it: tries, breakers, reports, what waits, totals."""
    print("Tries (time since it could go, answer, when next)")
    for letter in observed.cast.letters:
        if letter.shown or everything:
            _tell_letter(observed, letter)
    print("\nBreakers")
    for host in sorted({change.host for change in observed.changes}):
        _tell_breaker(host, [change for change in observed.changes if change.host == host])
    print("\nReports")
    for each in observed.reports:
        if observed.letter(each.letter).shown or everything:
            print(f"  {span(each.at):>9}  {each.action:8} to {each.to}: {each.letter}, {each.address}, {each.status}"
                  f" {short(each.diagnostic)}")  # fmt: skip
    others = Counter(each.action for each in observed.reports if not observed.letter(each.letter).shown)
    if others and not everything:
        print("  and about the other mail: " + ", ".join(f"{count} {action}" for action, count in others.items()))
    print("\nWaits at the end")
    for rest in observed.rest:
        print(
            f"  {rest.letter}, {rest.address}: {rest.state}, {rest.attempts} tries,"
            f" next at {span(rest.next_at)}: {short(rest.reason)}"
        )
    _tell_totals(observed)


def span(seconds: float) -> str:
    """ "2 d 03:04:05"."""
    whole = round(seconds)
    days, rest = divmod(whole, int(DAY))
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days} d {clock}" if days else clock


def short(text: str) -> str:
    """The beginning of an answer."""
    return text if len(text) <= _TEXT_CHARACTERS else f"{text[: _TEXT_CHARACTERS - 3]}..."


def _tell_letter(observed: Observed, letter: Letter) -> None:
    options = [f"NOTIFY={letter.notify}" if letter.notify else "", "REQUIRETLS" if letter.require_tls else "",
               f"to go at {span(letter.due_at)}" if letter.due_at is not None else ""]  # fmt: skip
    print(f"\n  {letter.name}: at {span(letter.at)} {' '.join(each for each in options if each)}".rstrip())
    for address in letter.to:
        tries = observed.tries.get((letter.name, address), ())
        ended = observed.ended.get((letter.name, address))
        for number, each in enumerate(tries):
            after = f"next after {span(tries[number + 1].at - each.at)}" if number + 1 < len(tries) else ""
            print(f"    {address}  {span(each.at - letter.from_at):>11}  {_answer(each)}  {after}".rstrip())
        if ended is not None and ended[1].fate.value != "delivered":
            print(f"    {address}  {span(ended[0] - letter.from_at):>11}  given up: {short(ended[1].text)}")
        elif ended is None:
            print(f"    {address}  waits")


def _answer(each: Try) -> str:
    return f"{each.fate} {each.code} {short(each.text)}"


def _tell_breaker(host: str, changes: list[Change]) -> None:
    print(f"  {host}: {len(changes)} changes")
    shown = changes if len(changes) <= _CHANGES else [*changes[: _CHANGES - 4], *changes[-4:]]
    for number, change in enumerate(shown):
        if number == _CHANGES - 4 and len(changes) > _CHANGES:
            print(f"      ... {len(changes) - _CHANGES} more like these")
        print(f"    {span(change.at):>11}  {change.condition:9} {short(change.reason)}".rstrip())


def _tell_totals(observed: Observed) -> None:
    fates = Counter(row.fate.value for _, row in observed.ended.values())
    tries = sum(map(len, observed.tries.values()))
    recipients = sum(len(letter.to) for letter in observed.cast.letters)
    print(
        f"\nTotals: {len(observed.cast.letters)} messages to {recipients} recipients in {tries} tries: "
        + ", ".join(f"{count} {fate}" for fate, count in sorted(fates.items()))
        + f", {len(observed.rest)} waiting; {len({each.mail for each in observed.reports})} reports,"
        f" {sum(map(len, observed.knocks.values()))} connections; longest wait of a person beside the bulk "
        f"{longest_beside(observed):.1f} s, of the bulk {longest_bulk(observed) / HOUR * 60:.1f} min"
    )


def longest_beside(observed: Observed) -> float:
    """How long a person's mail waited while the bulk run went out."""
    return max((at - observed.letter(name).at for at, name, _ in observed.sent if "beside" in name), default=0.0)


def longest_bulk(observed: Observed) -> float:
    """How long the bulk run took."""
    return max(
        (at - observed.letter(name).at for at, name, _ in observed.sent if observed.letter(name).is_bulk), default=0.0
    )
