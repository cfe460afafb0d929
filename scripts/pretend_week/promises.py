"""What is promised about mail out, each as a check of an observed week: the faults it finds, none when the promise holds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cast import LATER_SECONDS, SILENT_DNS, WEEK, Letter
from observed import Change, Observed
from peers import DAY, HOUR
from telling import longest_beside, span

MINUTE = 60.0
DELAYS = (5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, 16 * HOUR, 24 * HOUR)
"""After the first, second, ... try; the last one repeats."""
JITTER = 0.1
ATTEMPTS = 15
FAILURES, SUCCESSES = 5, 2
OPEN = 5 * MINUTE
NOTICE = 4 * HOUR
CONNECT, COMMAND = 30.0, 5 * MINUTE
_SLACK = 2 * MINUTE
"""For what looks once a minute."""
Faults = Iterator[str]


@dataclass(frozen=True, slots=True)
class Promise:
    """One of them."""

    text: str
    find: Callable[[Observed], Faults]
    always: bool = False
    """Also when the server is stopped now and then."""

    def holds_for(self, observed: Observed) -> bool:
        """Whether it was promised for such a week."""
        return self.always or not observed.away

    def check(self, observed: Observed) -> Sequence[str]:
        """Where it does not hold."""
        return list(self.find(observed))


def _schedule(observed: Observed) -> Faults:
    """Where neither a breaker nor a wait comes between: exactly the schedule."""
    for number in range(3):
        letter = observed.letter(f"a full mailbox, {number}")
        times = [each.at for each in observed.tries_of(letter.name)]
        last_at = letter.at + WEEK - MINUTE
        for place, (before, after) in enumerate(pairwise(times)):
            delay = DELAYS[min(place, len(DELAYS) - 1)]
            fits = (1 - JITTER) * delay - 1 <= after - before <= (1 + JITTER) * delay + 5
            if not fits and not (abs(after - last_at) < 5 and after - before < delay):
                yield f"{letter.name}: {span(after - before)} after try {place + 1}"
        if len(times) != ATTEMPTS:
            yield f"{letter.name}: {len(times)} tries"


def _never_sooner(observed: Observed) -> Faults:
    """Breakers and paces may make a wait longer, never shorter, but for the last try."""
    for (name, address), tries in observed.tries.items():
        last_at = observed.letter(name).from_at + WEEK - MINUTE
        for place, (before, after) in enumerate(pairwise(tries)):
            began = after.at - after.seconds
            if began - before.at < (1 - JITTER) * DELAYS[min(place, len(DELAYS) - 1)] - 1 and began < last_at - 1:
                yield f"{name}, {address}: {span(began - before.at)} after try {place + 1}"


def _attempts(observed: Observed) -> Faults:
    for (name, address), tries in observed.tries.items():
        if len(tries) > ATTEMPTS:
            yield f"{name}, {address}: {len(tries)} tries"


def _lifetime(observed: Observed) -> Faults:
    """No try begins later than seven days, and nothing waits longer."""
    for (name, address), tries in observed.tries.items():
        end = observed.letter(name).from_at + WEEK
        end = max([end, *(back + _SLACK for gone, back in observed.away if gone <= end <= back)])
        if tries[-1].at - tries[-1].seconds > end + 1:
            yield f"{name}, {address}: tried at {span(tries[-1].at)}"
    for rest in observed.rest:
        if rest.state != "held" and rest.next_at > observed.letter(rest.letter).from_at + WEEK:
            yield f"{rest.letter}, {rest.address}: next try at {span(rest.next_at)}"


def _nothing_lost(observed: Observed) -> Faults:
    waiting = {(rest.letter, rest.address) for rest in observed.rest}
    for letter in observed.cast.letters:
        for address in letter.to:
            places = ((letter.name, address) in observed.ended) + ((letter.name, address) in waiting)
            if places != 1:
                yield f"{letter.name}, {address}: in {places} places"


def _no_duplicates(observed: Observed) -> Faults:
    taken: Counter[tuple[str, str]] = Counter()
    for peer in observed.cast.peers.values():
        for each in peer.taken:
            found = re.search(rb"^Message-ID: (\S+)", each.content, re.MULTILINE)
            taken.update((str(found and found[1]), address) for address in each.recipients)
    yield from (f"{address} got {number} {count} times" for (number, address), count in taken.items() if count > 1)
    delivered = sum(row.fate.value == "delivered" for _, row in observed.ended.values())
    ours = sum(count for (number, _), count in taken.items() if "bounce" not in number)
    if delivered != ours:
        yield f"{delivered} were told as delivered, {ours} were taken"


def _failure_reports(observed: Observed) -> Faults:
    """One for each failure that its sender wants to hear of, at once; none else."""
    counts = Counter((each.letter, each.address, each.to) for each in observed.reports if each.action == "failed")
    for (name, address), (at, row) in observed.ended.items():
        letter = observed.letter(name)
        is_told = row.fate.value != "delivered" and _wants(letter, "FAILURE") and _arrives(letter.sender)
        found = counts.pop((name, address, letter.sender), 0)
        if found != int(is_told):
            yield f"{name}, {address}: {found} reports of failure"
        yield from (
            f"{name}, {address}: reported at {span(each.at)}, failed at {span(at)}"
            for each in observed.reports_of(name, "failed")
            if each.address == address and abs(each.at - at) > 5
        )
    yield from (f"{name}, {address}: a report to {to}" for name, address, to in counts)


def _delay_notices(observed: Observed) -> Faults:
    """One for each that waits for four hours and whose sender wants to hear of it; none else."""
    end = max((at for at, _ in observed.ended.values()), default=0.0)
    counts = Counter((each.letter, each.address) for each in observed.reports if each.action == "delayed")
    held = {rest.letter for rest in observed.rest if rest.state == "held"}
    away = max((back - gone for gone, back in observed.away), default=0.0)
    for letter in observed.cast.letters:
        for address in letter.to:
            waited = observed.ended.get((letter.name, address), (end,))[0] - letter.from_at
            may_hear = letter.name not in held and _wants(letter, "DELAY") and _arrives(letter.sender)
            least, most = int(may_hear and waited > NOTICE + MINUTE + away), int(may_hear and waited > NOTICE)
            if not least <= counts[letter.name, address] <= most:
                yield f"{letter.name}, {address}: {counts[letter.name, address]} notices, not {most}"


def _notices_in_time(observed: Observed) -> Faults:
    for each in observed.reports:
        waited = each.at - observed.letter(each.letter).from_at
        if each.action == "delayed" and not NOTICE <= waited <= NOTICE + _SLACK:
            yield f"{each.letter}: noticed after {span(waited)}"


def _receipts(observed: Observed) -> Faults:
    told = [(each.letter, each.action) for each in observed.reports if each.action not in ("failed", "delayed")]
    if told != [("with a receipt, to a server without reports", "relayed")]:
        yield f"receipts: {told}"
    parameters = [each.parameters for each in observed.cast.peers["reports.example"].taken]
    if len(parameters) != 1 or "NOTIFY=SUCCESS,DELAY" not in parameters[0]:
        yield f"passed on: {parameters}"


def _never(observed: Observed) -> Faults:
    name = "dead, and nobody wants to know"
    if observed.reports_of(name) or (name, "ben@dead.example") not in observed.ended:
        yield f"{len(observed.reports_of(name))} reports"


def _null_sender(observed: Observed) -> Faults:
    for each in observed.reports:
        if not observed.letter(each.letter).sender:
            yield f"{each.letter}: a report to {each.to or 'nobody'}"
    ends = [row for rows in observed.finished.values() for row in rows if row.address == "gone@dead.example"]
    if [(row.sender, row.fate.value) for row in ends] != [("", "failed")]:
        yield f"a report that could not arrive ended as {[(row.sender, row.fate.value) for row in ends]}"


def _opens(observed: Observed) -> Faults:
    for domain in ("dead.example", "hours.example", "crowd.example", "busy.example"):
        first = next((each for each in _changes(observed, domain)), None)
        if first is None or first.condition != "open":
            yield f"{domain}: begins with {first and first.condition}"
            continue
        knocks = sum(at <= first.at for at in observed.knocks[domain])
        if knocks != FAILURES:
            yield f"{domain}: open after {knocks} connections"


def _stays_open(observed: Observed) -> Faults:
    for domain, _, change, following in _steps(observed):
        if change.condition != "open" or following is None:
            continue
        if following.condition != "half-open" or following.at - change.at < OPEN - 1:
            yield f"{domain}: open at {span(change.at)}, {following.condition} after {span(following.at - change.at)}"
        early = [at for at in _ordinary_knocks(observed, domain) if change.at + 1 < at < following.at - 1]
        yield from (f"{domain}: a connection at {span(at)} while it is open" for at in early)


def _one_probe(observed: Observed) -> Faults:
    for domain, _, change, following in _steps(observed):
        if change.condition != "half-open" or following is None:
            continue
        knocks = sum(change.at - 1 < at <= following.at for at in _ordinary_knocks(observed, domain))
        most = 1 if following.condition == "open" else SUCCESSES
        if knocks > most:
            yield f"{domain}: {knocks} connections while it was half-open at {span(change.at)}"


def _closes(observed: Observed) -> Faults:
    for domain in ("hours.example", "busy.example"):
        closed = [each for each in _changes(observed, domain) if each.condition == "closed"]
        if len(closed) != 1 or _changes(observed, domain)[-1] is not closed[0]:
            yield f"{domain}: {len(closed)} times closed"
            continue
        taken = sum(each.at <= closed[0].at for each in observed.cast.peers[domain].taken)
        if taken != SUCCESSES:
            yield f"{domain}: closed after {taken} messages"


def _comes_back(observed: Observed) -> Faults:
    """What was passed over goes soon after its host is back, what has just been tried when its own next try is due."""
    for domain, back_at in (("hours.example", 3 * HOUR), ("busy.example", HOUR)):
        for (name, address), (at, row) in observed.ended.items():
            if not address.endswith(f"@{domain}"):
                continue
            failed = observed.tries_of(name)[:-1]
            own = failed[-1].at + (1 + JITTER) * DELAYS[min(len(failed), len(DELAYS)) - 1] if failed else 0.0
            if row.fate.value != "delivered" or at > max(back_at + 3 * OPEN, own) + _SLACK:
                yield f"{name}: {row.fate.value} at {span(at)}"


def _answers_do_not_count(observed: Observed) -> Faults:
    for domain in ("grey.example", "picky.example", "full.example", "works.example", "stalls.example"):
        yield from (f"{domain}: {each.condition} at {span(each.at)}" for each in _changes(observed, domain))


def _open_all_week(observed: Observed) -> Faults:
    """What its host's breaker held back is tried in the end, and its sender hears of it."""
    letter = observed.letter("its host is passed over all week")
    tries = observed.tries_of(letter.name)
    if any(each.condition == "closed" for each in _changes(observed, "crowd.example")):
        yield "the breaker was closed in between"
    if not tries or (len(tries) < ATTEMPTS and not letter.at + WEEK - _SLACK <= tries[-1].at <= letter.at + WEEK):
        yield f"the last try was at {span(tries[-1].at) if tries else 'no time'}"
    elif not any(abs(tries[-1].at - at) < 5 for at in observed.knocks["crowd.example"]):
        yield "the last try was none"
    actions = [each.action for each in observed.reports_of(letter.name)]
    if actions != ["delayed", "failed"]:
        yield f"reports: {actions}"


def _deadlines(observed: Observed) -> Faults:
    for name, seconds in (("silent for ever", CONNECT), ("stalls in the middle", COMMAND)):
        yield from (
            f"{name}: {each.seconds:.1f} s" for each in observed.tries_of(name) if abs(each.seconds - seconds) > 1
        )
        if not observed.tries_of(name):
            yield f"{name}: never tried"


def _greylisted(observed: Observed) -> Faults:
    tries = observed.tries_of("greylisted for ten minutes")
    if [each.fate for each in tries] != ["deferred", "deferred", "delivered"]:
        yield f"fates {[each.fate for each in tries]}"


def _refused_alone(observed: Observed) -> Faults:
    name = "two of three live there"
    fates = {address: observed.ended[name, address] for address in observed.letter(name).to}
    if [row.fate.value for _, row in fates.values()] != ["delivered", "failed", "delivered"]:
        yield f"fates {[row.fate.value for _, row in fates.values()]}"
    if [each.address for each in observed.reports_of(name)] != ["nobody@picky.example"]:
        yield "the report names others"


def _null_mx(observed: Observed) -> Faults:
    tries = observed.tries_of("to a domain without mail")
    if [(each.fate, each.code) for each in tries] != [("failed", 556)]:
        yield f"tries {[(each.fate, each.code) for each in tries]}"


def _dns(observed: Observed) -> Faults:
    tries = observed.tries_of("DNS is silent for a day")
    if not tries or tries[-1].fate != "delivered" or any(at < DAY for at in observed.knocks.get(SILENT_DNS, ())):
        yield f"fates {[each.fate for each in tries]}"


def _encrypted(observed: Observed) -> Faults:
    taken = observed.cast.peers["secure.example"].taken
    if [(each.tls, "REQUIRETLS" in each.parameters.split()) for each in taken] != [(True, True)]:
        yield f"{len(taken)} messages, {[(each.tls, each.parameters) for each in taken]}"
    reports = observed.reports_of("must stay encrypted, and cannot")
    if [(each.action, each.status, each.has_body) for each in reports] != [("failed", "5.7.30", False)]:
        yield f"reports {[(each.action, each.status, each.has_body) for each in reports]}"


def _for_later(observed: Observed) -> Faults:
    tries = observed.tries_of("for later")
    if len(tries) != 1 or not LATER_SECONDS <= tries[0].at <= LATER_SECONDS + 5:
        yield f"tried at {[span(each.at) for each in tries]}"
    dead = observed.letter("for later, to a dead server")
    if [rest.letter for rest in observed.rest if rest.state == "deferred"] != [dead.name]:
        yield "its seven days do not begin at its time"


def _held(observed: Observed) -> Faults:
    rests = [(rest.letter, rest.attempts, rest.reason) for rest in observed.rest if rest.state == "held"]
    if rests != [("held by a rule", 0, "under discussion")]:
        yield f"held: {rests}"
    if observed.reports_of("held by a rule"):
        yield "its sender was told"


def _limits(observed: Observed) -> Faults:
    for (name, address), (at, row) in observed.ended.items():
        if address.endswith("@paced.example") and (row.fate.value != "delivered" or at > HOUR):
            yield f"{name}: {row.fate.value} at {span(at)}"


def _persons_first(observed: Observed) -> Faults:
    bulk = [at for at, name, _ in observed.sent if observed.letter(name).is_bulk]
    people = [at for at, name, _ in observed.sent if "beside the bulk" in name]
    if not people or not bulk:
        yield "no such mail"
        return
    if longest_beside(observed) > 30:
        yield f"a person's mail waited {longest_beside(observed):.0f} s"
    if sum(at > max(people) for at in bulk) < len(bulk) / 4:
        yield "most of the bulk went before a person's mail"
    expected = sum(len(letter.to) for letter in observed.cast.letters if letter.is_bulk)
    if len(bulk) != expected:
        yield f"{len(bulk)} of {expected} of the bulk went"


def _history(observed: Observed) -> Faults:
    if [known for _, known in observed.remembered] != [True, False]:
        yield f"known after so many days: {observed.remembered}"


def _no_errors(observed: Observed) -> Faults:
    yield from observed.errors


def _wants(letter: Letter, what: str) -> bool:
    """RFC 3461 4.1: without NOTIFY of failures, and as we see it of delays."""
    return bool(letter.sender) and (not letter.notify or what in letter.notify.split(","))


def _arrives(sender: str) -> bool:
    return not sender.endswith("@dead.example")


def _changes(observed: Observed, domain: str) -> list[Change]:
    return [each for each in observed.changes if each.host == f"mx.{domain}:25"]


def _steps(observed: Observed) -> Iterator[tuple[str, float, Change, Change | None]]:
    """(domain, when it opened first since it was closed, change, the next one)."""
    for domain in observed.cast.peers:
        changes = _changes(observed, domain)
        opened = None
        for place, change in enumerate(changes):
            opened = None if change.condition == "closed" else opened if opened is not None else change.at
            following = changes[place + 1] if place + 1 < len(changes) else None
            yield domain, opened if opened is not None else change.at, change, following


def _ordinary_knocks(observed: Observed, domain: str) -> list[float]:
    """But for last tries, which nothing holds back."""
    last = [
        letter.from_at + WEEK - MINUTE
        for letter in observed.cast.letters
        if any(address.endswith(f"@{domain}") for address in (*letter.to, letter.sender))
    ]
    return [at for at in observed.knocks.get(domain, ()) if not any(-2 <= at - each <= MINUTE for each in last)]


PROMISES = (
    Promise(
        "Tries come after 5, 15, 30 minutes, 1, 2, 4, 8, 16, 24 hours, a tenth more or less; fifteen of them", _schedule
    ),
    Promise("A breaker or a pace makes a wait longer, never shorter", _never_sooner, always=True),
    Promise("Nobody gets more than fifteen tries", _attempts, always=True),
    Promise("No try begins after seven days, and nothing waits longer", _lifetime, always=True),
    Promise("Nothing is lost: each recipient was served, has failed or waits", _nothing_lost, always=True),
    Promise("Nobody gets anything twice, and what is told as delivered was taken", _no_duplicates, always=True),
    Promise(
        "Each failure is reported once and at once, expired mail too, unless its sender does not want it",
        _failure_reports,
        always=True,
    ),
    Promise("What waits for four hours is noticed once, what is held is not", _delay_notices, always=True),
    Promise("The notice comes then and not later", _notices_in_time),
    Promise("NOTIFY=SUCCESS: told by us where the other server cannot, else passed on", _receipts, always=True),
    Promise("NOTIFY=NEVER: no report at all", _never, always=True),
    Promise("Nothing is reported about a report", _null_sender, always=True),
    Promise("Five failed connections open a breaker", _opens),
    Promise("It stays open for five minutes, and nobody connects meanwhile", _stays_open, always=True),
    Promise("One message at a time probes", _one_probe, always=True),
    Promise("Two successes close it", _closes),
    Promise("What was passed over goes within a quarter of an hour after its host is back", _comes_back),
    Promise("Answers about recipients and messages never open a breaker", _answers_do_not_count, always=True),
    Promise(
        "Mail whose breaker is open all week is noticed, tried at the end, and bounces at seven days", _open_all_week
    ),
    Promise("A connection may take 30 seconds, an answer to a command five minutes", _deadlines),
    Promise("Greylisted mail arrives by itself", _greylisted),
    Promise("One refused recipient does not hold up the others", _refused_alone, always=True),
    Promise("A null MX fails at once", _null_mx, always=True),
    Promise("DNS that is silent for a day loses nothing", _dns),
    Promise("REQUIRETLS goes encrypted or comes back, as header only", _encrypted, always=True),
    Promise("Mail for later goes at its time, and its seven days begin then", _for_later),
    Promise("Held mail stays and nobody is told", _held, always=True),
    Promise("A server that limits its connections gets all its mail within the hour", _limits, always=True),
    Promise("A person's mail does not wait for a bulk run", _persons_first, always=True),
    Promise("What has left is known for 30 days, then forgotten", _history, always=True),
    Promise("Nothing goes wrong inside", _no_errors, always=True),
)
