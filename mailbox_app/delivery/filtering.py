"""Filters: which scripts run on one account's copy of a message, and in what order.

The administrator's scripts `before`, the account's active one, the administrator's `after`: the next one runs while the message
is kept. Without a script that decides, the default is INBOX, or Junk for junk. Nothing is done here: a `Plan` says what is to be
done, so a message can be refused before anything happened, and `sieve test` shows the same plan. A script that fails keeps the
message; that is recorded and left for its owner to see. Blocking: called in a thread, for all accounts of a message at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from mailbox_app.accounts.interface import Directory
from mailbox_app.accounts.model import Account
from mailbox_app.clock import Clock
from mailbox_app.config.schema import Sieve
from mailbox_app.delivery.compiled_scripts import CompiledScripts, Stamp
from mailbox_app.delivery.filter_actions import OUT_OF_OFFICE, ActionPlanner
from mailbox_app.delivery.filter_context import AccountMailboxes, AccountMemory, FilteredMessage, ScriptLibrary
from mailbox_app.delivery.filter_memory import FilterMemory
from mailbox_app.delivery.filter_plan import TO_INBOX, Plan
from mailbox_app.delivery.mail import Mail, Recipient
from mailbox_app.errors import MailboxError
from mailbox_app.policy.verdict import Judgement, Verdict
from mailbox_app.proto.sieve.actions import Keep
from mailbox_app.proto.sieve.context import Context
from mailbox_app.proto.sieve.faults import SieveError
from mailbox_app.proto.sieve.limits import Limits
from mailbox_app.proto.sieve.script import Outcome, Script, compile_script, run
from mailbox_app.store.interface import Store
from mailbox_app.store.scripts import ScriptLimits, Scripts

_MAX_STEPS = 400
"""Of all scripts of one account together."""
_VIRUS_CHECKS = frozenset({"clamav"})
_VIRUS_CLEAN, _VIRUS_SURE = 1, 4


@dataclass(frozen=True, slots=True)
class NamedScript:
    """A script with the name that steps and reasons call it by."""

    name: str
    script: Script


class Filters:
    """One per process; safe from any thread."""

    def __init__(
        self,
        store: Store,
        scripts: Scripts,
        memory: FilterMemory,
        directory: Directory,
        clock: Clock,
        *,
        hostname: str,
        settings: Sieve | None = None,
    ) -> None:
        self.scripts = scripts
        self.memory = memory
        self.directory = directory
        self.clock = clock
        self.hostname = hostname
        self._store = store
        self._log = structlog.get_logger("delivery")
        self.configure(settings or Sieve())

    def configure(self, settings: Sieve) -> None:
        """From now on by these settings."""
        self.settings = settings
        self.limits = Limits(redirects=settings.max_redirects)
        self.scripts.limits = ScriptLimits(settings.max_script_bytes, settings.max_scripts)
        self._compiled = CompiledScripts(self.limits)

    def concern(self, mail: Mail, account: Account, recipient: Recipient) -> bool:
        """Whether there is more to decide than INBOX. One look at one file name: may be asked on the loop."""
        settings = self.settings
        return (
            bool(settings.before or settings.after)
            or mail.judgement.is_junk(account.account_id)
            or bool(recipient.detail and settings.detail_mailboxes)
            or self.scripts.has_active(account.ref)
        )

    def plans(self, mail: Mail, pairs: Sequence[tuple[Account, Recipient]]) -> Sequence[Plan | MailboxError]:
        """What is to be done for each account; an error where that cannot be found out now. Blocking."""
        message = FilteredMessage.of(mail)
        return [self._plan_or_error(mail, message, account, recipient) for account, recipient in pairs]

    def _plan_or_error(
        self, mail: Mail, message: FilteredMessage, account: Account, recipient: Recipient
    ) -> Plan | MailboxError:
        try:
            return self.plan(mail, message, account, recipient)
        except MailboxError as error:
            return error
        except Exception as error:  # noqa: BLE001 - a filter that breaks must not keep mail from its reader
            self._log.error("filters_failed", address=account.address, exc_info=error)
            return replace(TO_INBOX, notes=["the filters failed; the message was kept"])

    def plan(
        self,
        mail: Mail,
        message: FilteredMessage,
        account: Account,
        recipient: Recipient,
        *,
        only: NamedScript | None = None,
        home: str = "",
        dry: bool = False,
    ) -> Plan:
        """One account's plan. `only`: this script instead of those that are active. `dry`: nothing is counted or made.

        `home`: the mailbox the message is in already, which is where `keep` leaves it.
        """
        mailboxes = AccountMailboxes(self._store, account.ref)
        planner = ActionPlanner(self, mail, message, account, recipient, mailboxes, home=home, dry=dry)
        kept = Keep(implicit=True)
        for named in (only,) if only is not None else self._row(account, planner, dry=dry):
            asked = self.context(mail, message, account, recipient, mailboxes)
            outcome = run(named.script, replace(asked, home=home) if home else asked, self.limits)
            room = max(0, _MAX_STEPS - len(planner.steps))
            planner.steps += [f"{named.name}: {step}" for step in outcome.steps[:room] or ["ran and did nothing"]]
            if outcome.error:
                self._failed(account, f"script {named.name}: {outcome.error}", planner, dry=dry)
            for action in outcome.actions:
                planner.take(action, message, named.name)
            planner.remember += [(each.identity, each.seconds) for each in outcome.remember]
            again = _kept(outcome, kept)
            if again is None:
                break
            kept = again
            if kept.content is not None:
                message = message.rewritten(kept.content)
            if kept.edits:
                message = message.with_head(kept.edits.apply(message.head))
        else:
            planner.keep(kept, message)
        return planner.plan()

    def named(self, account: Account, name: str, source: bytes | None = None) -> NamedScript:
        """A script to run on demand: the account's one of that name, or this source. `SieveError`, `script.no_such`."""
        source = self.scripts.get(account.ref, name) if source is None else source
        return NamedScript(name, compile_script(source, self.limits))

    def stored(self, account: Account, name: str) -> NamedScript | None:
        """The account's script of that name, compiled once; None when there is none. `SieveError`."""
        found = self.scripts.find(account.ref, name)
        script = None if found is None else self._compiled.of_file(found.path, found.stamp)
        return None if script is None else NamedScript(name, script)

    def context(
        self,
        mail: Mail,
        message: FilteredMessage,
        account: Account,
        recipient: Recipient,
        mailboxes: AccountMailboxes,
    ) -> Context:
        """What a script may ask about this copy."""
        return Context(
            message=message.as_message(),
            now=self.clock.now().astimezone(),
            sender=mail.envelope.sender,
            recipient=recipient.address,
            authenticated=mail.envelope.submitter,
            separator=recipient.separator or "+",
            environment=self._environment(mail),
            spam_percent=spam_percent(mail.judgement, account),
            virus_level=_virus_level(mail.judgement),
            mailboxes=mailboxes,
            library=ScriptLibrary(self.scripts, self._compiled, account.ref, self.settings.global_dir),
            memory=AccountMemory(self.memory, account.ref),
        )

    def server_items(self) -> Mapping[str, str]:
        """What `environment` tells of this server. RFC 5183 4.1."""
        return {"domain": self.hostname.partition(".")[2], "host": self.hostname, "name": "mailbox"}

    def _environment(self, mail: Mail) -> Mapping[str, str]:
        """RFC 5183 4.1."""
        return {
            **self.server_items(),
            "location": "MDA",
            "phase": "during",
            "remote-host": mail.remote_name,
            "remote-ip": mail.remote_ip,
        }

    def _row(self, account: Account, planner: ActionPlanner, *, dry: bool) -> Iterator[NamedScript]:
        """The scripts of this account, in order; those that cannot be read are noted and passed over."""
        own = self.scripts.active(account.ref)
        files: list[tuple[str, str, Stamp | None]] = [(path, path, None) for path in self.settings.before]
        away = self.scripts.away(account.ref)
        if away is not None:
            files.append((OUT_OF_OFFICE, away.path, away.stamp))
        if own is not None:
            files.append((own.name, own.path, own.stamp))
        files += [(path, path, None) for path in self.settings.after]
        for name, path, stamp in files:
            try:
                script = self._compiled.of_file(path, stamp)
            except SieveError as error:
                self._failed(account, f"script {name} is not valid: {error.public_text}", planner, dry=dry)
                continue
            if script is not None:
                yield NamedScript(name, script)
            elif stamp is None:
                self._failed(account, f"script {name}: there is no such file", planner, dry=True)
                self._log.error("sieve_script_missing", path=path)

    def _failed(self, account: Account, text: str, planner: ActionPlanner, *, dry: bool) -> None:
        planner.notes.append(text)
        planner.steps.append(text)
        if not dry:
            self.note_failure(account, text)

    def note_failure(self, account: Account, text: str) -> None:
        """In the log, and for the owner to see."""
        self._log.warning("sieve_script_failed", address=account.address, error=text)
        self.scripts.note_failure(account.ref, f"{self.clock.now():%Y-%m-%d} {text}")


def _kept(outcome: Outcome, before: Keep) -> Keep | None:
    """Whether the message is still kept, with the flags so far."""
    kept = next((action for action in outcome.actions if isinstance(action, Keep)), None)
    if kept is None:
        return None
    flags = tuple(dict.fromkeys((*before.flags, *kept.flags)))
    return Keep(flags, implicit=before.implicit and kept.implicit, edits=kept.edits, content=kept.content)


def spam_percent(judgement: Judgement, account: Account) -> float | None:
    """The score as `spamtest` tells it: what is junk begins at 50; None when nothing was tested. RFC 5235."""
    if not judgement.findings:
        return None
    percent = 50.0 * judgement.score(account.account_id) / judgement.junk_score
    least = 50.0 if judgement.is_junk(account.account_id) else 0.0
    return min(100.0, max(least, percent))


def _virus_level(judgement: Judgement) -> int | None:
    """RFC 5235 2.3."""
    found = [finding for finding in judgement.findings if finding.check in _VIRUS_CHECKS]
    if not found:
        return None
    return _VIRUS_SURE if any(finding.verdict is not Verdict.ACCEPT for finding in found) else _VIRUS_CLEAN
