"""Methods `junk.*`: what the classifier has learnt, and lessons by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from mailbox_app.accounts.model import Account
from mailbox_app.control.context import ControlContext
from mailbox_app.control.schema import Call, Method, Params
from mailbox_app.errors import MailboxError
from mailbox_app.ids import AccountId, Uid
from mailbox_app.policy.bayes import LEAST_TRAINED
from mailbox_app.policy.lessons import Lessons
from mailbox_app.policy.state.corpus import BASE
from mailbox_app.proto.object_id import email_id

_BATCH = 20
Kind = Literal["spam", "ham"]
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Lesson(Params):
    """One message: its beginning, and the SHA-256 of all of it, by which it is learnt once."""

    content: bytes
    digest: Digest


class TrainMessages(Params):
    """Messages to learn; without an account the base that all share learns."""

    kind: Kind
    messages: Annotated[list[Lesson], Meta(max_length=1_000)]
    account: str = ""


class TrainMailbox(Params):
    """A mailbox to learn."""

    kind: Kind
    account: str
    mailbox: str


class Trained(Struct):
    """How many messages were learnt, and how many were known already or could not be read."""

    learnt: int
    passed_over: int


class MaybeAccount(Params):
    """One account; empty: all."""

    account: str = ""


class Knowledge(Struct):
    """What one account has learnt; `account` is empty for the base that all share."""

    account: str
    spam: int
    ham: int
    kept: int
    """Of the wanted messages those that nobody called so: they were answered, flagged, filed or kept for a day."""
    has_a_say: bool


class KnowledgeList(Struct):
    """What was learnt, and how much it takes."""

    needed: int
    """Messages of each kind before a classifier says anything."""
    accounts: list[Knowledge]


def _lessons(context: ControlContext) -> Lessons:
    state = context.policy_state
    return Lessons(state.corpus, state.reputation, context.config.server.hostname)


async def train(context: ControlContext, call: Call, params: TrainMessages) -> Trained:
    """Learn messages that the caller sends."""
    call.object = params.account
    account_id = BASE
    if params.account:
        account = await context.offload.run(context.directory.existing, params.account)
        account_id, call.object = account.account_id, account.address
    lessons = _lessons(context)

    def learn(messages: Sequence[Lesson]) -> int:
        return sum(
            [
                lessons.learn(
                    account_id, email_id(each.digest), each.content, is_spam=params.kind == "spam", trusted=False
                )
                for each in messages
            ]
        )

    learnt = 0
    for at in range(0, len(params.messages), _BATCH):
        learnt += await context.offload.run(learn, params.messages[at : at + _BATCH])
    call.after = {"kind": params.kind, "learnt": learnt}
    return Trained(learnt, len(params.messages) - learnt)


async def train_mailbox(context: ControlContext, call: Call, params: TrainMailbox) -> Trained:
    """Learn every message of a mailbox."""
    call.object = params.account
    account = await context.offload.run(context.directory.existing, params.account)
    call.object, call.detail = account.address, params.mailbox
    uids = await context.offload.run(_uids, context, account, params.mailbox)
    lessons = _lessons(context)
    learnt = 0
    for at in range(0, len(uids), _BATCH):
        await call.progress(at, len(uids), account.address)
        batch = uids[at : at + _BATCH]
        is_spam = params.kind == "spam"
        learnt += await context.offload.run(_learn, context, lessons, account, params.mailbox, batch, is_spam=is_spam)
    call.after = {"kind": params.kind, "learnt": learnt}
    return Trained(learnt, len(uids) - learnt)


def _uids(context: ControlContext, account: Account, mailbox: str) -> Sequence[Uid]:
    store = context.store.account(account.ref)
    return [Uid(uid) for uid in store.sizes(store.mailbox(mailbox).mailbox_id).uids]


def _learn(
    context: ControlContext, lessons: Lessons, account: Account, mailbox: str, uids: Sequence[Uid], *, is_spam: bool
) -> int:
    store = context.store.account(account.ref)
    mailbox_id = store.mailbox(mailbox).mailbox_id
    learnt = 0
    for uid, digest in store.rendered(mailbox_id, uids, ("email_id",)):
        assert isinstance(uid, int)
        assert isinstance(digest, bytes)
        try:
            with store.open_message(mailbox_id, Uid(uid)) as file:
                learnt += lessons.learn(account.account_id, digest, file, is_spam=is_spam)
        except MailboxError as error:
            if error.code != "store.no_such_message":  # gone meanwhile
                raise
    return learnt


async def status(context: ControlContext, call: Call, params: MaybeAccount) -> KnowledgeList:
    """How much was learnt."""
    if params.account:
        accounts = [await context.offload.run(context.directory.existing, params.account)]
    else:
        accounts = list(await context.offload.run(context.directory.accounts))
    names: list[tuple[AccountId, str]] = [(BASE, ""), *((each.account_id, each.address) for each in accounts)]

    def read() -> list[Knowledge]:
        corpus = context.policy_state.corpus
        found, kept = [], corpus.kept()
        for account_id, name in names:
            totals = corpus.totals(account_id)
            found.append(Knowledge(name, totals.spam, totals.ham, kept.get(account_id, 0), totals.is_enough))
        return found

    return KnowledgeList(LEAST_TRAINED, await context.offload.run(read))


METHODS = (
    Method("junk.train", TrainMessages, Trained, train, "Learn messages.", changes=True),
    Method("junk.train_mailbox", TrainMailbox, Trained, train_mailbox, "Learn a mailbox.", changes=True),
    Method("junk.status", MaybeAccount, KnowledgeList, status, "How much was learnt."),
)
