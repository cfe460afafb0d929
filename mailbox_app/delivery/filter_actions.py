"""What the actions of filter scripts come to for one account: places, addresses, answers, or a note why not."""

from __future__ import annotations

from typing import Protocol, assert_never

from mailbox_app.accounts.interface import Directory
from mailbox_app.accounts.model import Account
from mailbox_app.clock import Clock
from mailbox_app.config.schema import Sieve
from mailbox_app.delivery import notifications, vacation
from mailbox_app.delivery.filter_context import AccountMailboxes, FilteredMessage
from mailbox_app.delivery.filter_memory import FilterMemory
from mailbox_app.delivery.filter_plan import Plan, PlannedAnswer, PlannedCopy, PlannedRedirect
from mailbox_app.delivery.generated import compose, one_line
from mailbox_app.delivery.mail import Body, Mail, Recipient
from mailbox_app.errors import ProtocolError
from mailbox_app.policy.identity import own_results
from mailbox_app.proto.address import parse_address, parse_address_list
from mailbox_app.proto.address_list import AUTHOR_BYTES
from mailbox_app.proto.header import Header
from mailbox_app.proto.sieve.actions import (
    Action,
    Discard,
    Fcc,
    FileInto,
    Keep,
    Notify,
    Redirect,
    Reject,
    Vacation,
)
from mailbox_app.proto.sieve.header_edits import render_field
from mailbox_app.store.appender import Place
from mailbox_app.store.model import SpecialUse, SystemFlag

OUT_OF_OFFICE = "(out of office)"
"""What the script of out-of-office answers by dates is called; no answer of it goes out for what is thrown away."""
_INBOX = "INBOX"
_SYSTEM = {f"\\{flag.name.lower()}": int(flag) for flag in SystemFlag if flag.name}
_MAX_KEYWORDS = 10
"""Of one copy; a mailbox holds 26 different ones."""
_REASON_FIELD = "X-Mailbox-Reason"


class Surroundings(Protocol):
    """What the planner asks; `filtering.Filters`."""

    memory: FilterMemory
    directory: Directory
    clock: Clock
    hostname: str
    settings: Sieve


class ActionPlanner:
    """Gathers one account's plan."""

    def __init__(
        self,
        around: Surroundings,
        mail: Mail,
        message: FilteredMessage,
        account: Account,
        recipient: Recipient,
        mailboxes: AccountMailboxes,
        *,
        home: str = "",
        tells: bool = False,
        dry: bool,
    ) -> None:
        """`home`: the mailbox the message is in already; then it is only filed, and nobody hears of it unless it `tells`."""
        self.notes: list[str] = []
        self.steps: list[str] = []
        self.remember: list[tuple[str, float]] = []
        self._around = around
        self._mail = mail
        self._original = message
        self._account = account
        self._recipient = recipient
        self._mailboxes = mailboxes
        self._dry = dry
        self._home = home
        self._tells = tells or not home
        self._is_junk = mail.judgement.is_junk(account.account_id)
        self._copies: dict[tuple[str, bytes | None, int | None], PlannedCopy] = {}
        self._redirects: dict[str, PlannedRedirect] = {}
        self._made_of: dict[int, FilteredMessage] = {}
        """Messages that scripts made, by their content: copies of one are one file."""
        self._answers: list[PlannedAnswer] = []
        self._rejection: str | None = None

    def take(self, action: Action, message: FilteredMessage, script: str) -> None:
        """Plan one action of a script that saw this message; keeping is decided behind the last script."""
        reason = f"script {script}"
        if not self._tells and isinstance(action, Redirect | Reject | Vacation | Notify):
            self.notes.append(f"{type(action).__name__.lower()} left out: the message is here already")
            if isinstance(action, Reject) or (isinstance(action, Redirect) and not action.copy):
                self._add(Place(self._home), None, None, reason)
            return
        match action:
            case Keep():
                return
            case FileInto():
                self._add(self._place(action, action.flags), *self._changed(message, action), reason)
            case Redirect():
                self._redirect(action, message, reason)
            case Discard():
                self.notes.append(f"{reason}: discarded")
            case Reject():
                self._rejection = action.reason
            case Vacation():
                self._vacation(action, message, reason)
            case Notify():
                self._notify(action, message, reason)
            case _:
                assert_never(action)

    def keep(self, kept: Keep, message: FilteredMessage) -> None:
        """The message was kept to the end: into INBOX by a script's word, else where mail goes by default."""
        name, reason = self._home or _INBOX, ""
        if self._is_junk and kept.implicit and not self._home:
            judgement = self._mail.judgement
            name = self._junk_name()
            reason = f"junk: score {judgement.score(self._account.account_id):g} of {judgement.junk_score:g}"
        elif kept.implicit and not self._home and (named := self._detail_mailbox()):
            name, reason = named, "the mailbox is named in the address"
        self._add(_with_flags(name, kept.flags), *self._as_is(message), reason)

    def _detail_mailbox(self) -> str | None:
        """The mailbox that the address names behind its separator, when there is one and the administrator wants it so."""
        detail = self._recipient.detail if self._around.settings.detail_mailboxes else ""
        return self._mailboxes.find(detail) if detail else None

    def plan(self) -> Plan:
        """All that was decided."""
        refused = self._rejection is not None
        if refused or not (self._copies or self._redirects):
            self._answers = [each for each in self._answers if each.reason != f"script {OUT_OF_OFFICE}"]
        return Plan(
            () if refused else tuple(self._copies.values()),
            () if refused else tuple(self._redirects.values()),
            tuple(self._answers),
            self._rejection,
            None if self._rejection is None else self._refused_copy(self._rejection),
            tuple(self.notes),
            tuple(self.steps),
            tuple(self.remember),
        )

    def _add(self, place: Place, head: bytes | None, rest: Body | None, reason: str) -> None:
        """One copy more; the same mailbox gets one copy of the same bytes, with the flags of all. RFC 5228 2.10.3."""
        key = (place.mailbox, head, None if rest is None else id(rest))
        before = self._copies.get(key)
        if before is not None:
            keywords = tuple(dict.fromkeys((*before.place.keywords, *place.keywords)))[:_MAX_KEYWORDS]
            place = Place(place.mailbox, place.flags | before.place.flags, keywords)
            reason = before.reason
        self._copies[key] = PlannedCopy(place, head, reason, rest)

    def _changed(self, message: FilteredMessage, action: FileInto | Redirect) -> tuple[bytes | None, Body | None]:
        """Header and rest as an action has them; None: as received."""
        if action.content is not None:
            made = self._made_of.get(id(action.content))
            if made is None:
                made = self._made_of[id(action.content)] = message.rewritten(action.content)
            message = made
        if action.edits:
            message = message.with_head(action.edits.apply(message.head))
        return self._as_is(message)

    def _as_is(self, message: FilteredMessage) -> tuple[bytes | None, Body | None]:
        if message.rest is not self._original.rest:
            return message.head, message.rest
        return None if message.head is self._original.head else message.head, None

    def _place(self, action: FileInto | Fcc, flags: tuple[str, ...]) -> Place:
        """The mailbox an action means, made where it says so; INBOX when there is none."""
        found = self._mailboxes.by_id(action.mailbox_id) if action.mailbox_id else None
        if found is None and action.special_use:
            found = self._mailboxes.by_special_use(action.special_use)
        if found is None:
            found = self._mailboxes.find(action.mailbox)
        if found is None and action.create:
            found = action.mailbox if self._dry else self._made(action)
        if found is None:
            shown = one_line(action.mailbox, 200)
            found = self._home or _INBOX
            self.notes.append(f"there is no mailbox {shown}: the copy goes to {found}")
        return _with_flags(found, flags)

    def _made(self, action: FileInto | Fcc) -> str | None:
        wanted = action.special_use.lstrip("\\").lower()
        use = next((use for use in SpecialUse if use.value.lower() == wanted), None)
        return self._mailboxes.create(action.mailbox, use)

    def _junk_name(self) -> str:
        """The mailbox with the role; by its role's name the store makes it when it is missing."""
        return self._mailboxes.by_special_use(SpecialUse.JUNK.value) or SpecialUse.JUNK.value

    def _refused_copy(self, reason: str) -> PlannedCopy:
        head = render_field(_REASON_FIELD, one_line(f"refused by your filter: {reason}")) + self._original.head
        return PlannedCopy(Place(self._junk_name()), head, "refused by the script, but others have the message")

    def _redirect(self, action: Redirect, message: FilteredMessage, reason: str) -> None:
        head, rest = self._changed(message, action)
        trouble, where = self._why_not_on(action.address, message), self._home or _INBOX
        if not trouble and self._is_in_anothers_name(message.header if head is None else Header.parse(head)):
            trouble = "it is written in the name of somebody else here"
        if not trouble and self._is_junk and not self._around.settings.redirect_junk:
            trouble, where = "junk is not passed on", self._junk_name()
        if not trouble and not self._dry:
            limit = self._around.settings.redirects_per_day
            if not self._around.memory.may_send(self._account.account_id, "redirect", limit):
                trouble = "too many messages were passed on today"
        if trouble:
            text = f"not passed on to {one_line(action.address, 200)}: {trouble}"
            self.notes.append(text)
            if not action.copy:
                self._add(Place(where), head, rest, text)
            return
        self._redirects.setdefault(action.address.lower(), PlannedRedirect(action.address, head, reason, rest))

    def _why_not_on(self, address: str, message: FilteredMessage) -> str:
        try:
            parse_address(address)
        except ProtocolError:
            return "the address is not valid"
        if self._owns(address):
            return "the address is this account's own"
        own = self._account.address.lower().encode()
        if any(value.strip().lower() == own for value in message.header.all(b"delivered-to")):
            return "the message was here before, this is a loop"
        return ""

    def _is_in_anothers_name(self, header: Header) -> bool:
        """Whether this account wrote an author of one of our domains that is not its own, by its script or over IMAP.

        What leaves has an envelope sender of ours and so passes for its From field: here as on submission nobody may choose that.
        """
        if not self._home and header.all(b"from") == self._original.header.all(b"from"):
            return False  # as it came in at the door, which looked at it
        around = self._around.directory
        for value in (*header.all(b"from"), *header.all(b"sender")):
            for each in parse_address_list(value[:AUTHOR_BYTES]):
                local, domain = ((text or b"").decode("utf-8", "replace") for text in (each.localpart, each.domain))
                if around.is_local_domain(domain.lower().rstrip(".")) and not self._owns(f"{local}@{domain}"):
                    return True
        return False

    def _vacation(self, action: Vacation, message: FilteredMessage, reason: str) -> None:
        sender, header = self._mail.envelope.sender, message.header
        own = {self._account.address, *(address.lower() for address in action.addresses)}
        trouble = vacation.why_not_to(sender, self._owns) or vacation.why_silent(header)
        if not trouble and self._is_junk:
            trouble = "the message is junk"
        if not trouble and not vacation.is_addressed(header, own, self._owns):
            trouble = "the message is not addressed to this account"
        if not trouble:
            trouble = vacation.why_doubtful(own_results(self._original.header, self._around.hostname))
        claim = vacation.claim_of(action, sender)
        if not trouble and action.seconds and self._around.memory.seen(self._account.account_id, "vacation", claim):
            trouble = "the sender had this answer already"
        if trouble:
            self.notes.append(f"no answer sent: {trouble}")
            return
        author = self._from(action.sender)
        content = compose(
            sender=author,
            recipients=[sender],
            subject=vacation.subject_of(action, header),
            auto_submitted="auto-replied",
            text=action.reason,
            now=self._around.clock.now(),
            hostname=self._around.hostname,
            answered=header,
            is_entity=action.mime,
        )
        place = None if action.fcc is None else self._place(action.fcc, action.fcc.flags)
        claim = claim if action.seconds else ""
        self._answers.append(
            PlannedAnswer("replied", (sender,), content, _domain(author), reason, claim, action.seconds, place)
        )

    def _notify(self, action: Notify, message: FilteredMessage, reason: str) -> None:
        header = message.header
        target = notifications.read_mailto(action.method)
        trouble = "" if target else "only mailto with one to five addresses is known"
        automatic = (header.first(b"auto-submitted") or b"no").split(b";")[0].strip().lower()
        if automatic != b"no":  # RFC 5436 2.7.1: no notification about a notification
            trouble = "the message was sent by a program"
        if self._is_junk:
            trouble = "the message is junk"
        if target is None or trouble:
            self.notes.append(f"no notification sent: {trouble}")
            return
        author = self._from(action.sender)
        content = compose(
            sender=author,
            recipients=target.to or target.recipients[:1],
            subject=notifications.subject_of(action, target, header),
            auto_submitted=f'auto-notified; owner-email="{self._account.address}"',  # RFC 5436 2.7.1
            text=notifications.text_of(action, target, header),
            now=self._around.clock.now(),
            hostname=self._around.hostname,
            further=[
                *([("Cc", ", ".join(f"<{address}>" for address in target.cc))] if target.cc else ()),
                ("Importance", notifications.importance_of(action)),
                *target.fields,
            ],
        )
        place = None if action.fcc is None else self._place(action.fcc, action.fcc.flags)
        self._answers.append(
            PlannedAnswer("notified", tuple(target.recipients), content, _domain(author), reason, fcc=place)
        )

    def _from(self, wanted: str | None) -> str:
        """Whom a generated message is from: the script's word when the address is the account's own."""
        if wanted:
            found = parse_address_list(wanted.encode("utf-8", "surrogateescape"))
            if len(found) == 1:
                each = found[0]
                address = f"{(each.localpart or b'').decode('utf-8', 'replace')}@{(each.domain or b'').decode('utf-8', 'replace')}"
                if self._owns(address):
                    return one_line(wanted, 320)
            self.notes.append(f"the From address {one_line(wanted, 200)} is not this account's own: not used")
        address = self._recipient.address
        found_here = self._around.directory.resolve(address).accounts
        alone = len(found_here) == 1 and found_here[0].account_id == self._account.account_id
        return f"<{address if alone else self._account.address}>"

    def _owns(self, address: str) -> bool:
        return self._around.directory.owns(self._account, address)


def _domain(author: str) -> str:
    return author.rpartition("@")[2].rstrip("> ").lower()


def _with_flags(mailbox: str, flags: tuple[str, ...]) -> Place:
    """Flags as the store has them: system flags as bits, others as keywords."""
    bits, keywords = 0, []
    for flag in flags:
        bit = _SYSTEM.get(flag.lower())
        if bit is not None:
            bits |= bit
        elif not flag.startswith("\\"):
            keywords.append(flag)
    return Place(mailbox, bits, tuple(dict.fromkeys(keywords))[:_MAX_KEYWORDS])
