"""`mailbox junk`: train, status, rejects."""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click

from mailbox_app.cli import connection
from mailbox_app.cli.output import json_option, print_json, print_table, size, time
from mailbox_app.errors import ControlError
from mailbox_app.proto.plain_text import clean

_HEAD_BYTES = 262_144
"""Of a message: the classifier looks at no more than the beginning of its text."""
_BATCH_BYTES = 600_000
"""In base64 below the largest frame of the control protocol."""
_BATCH_MESSAGES = 200
_MAX_LINE = 65_536


@click.group("junk")
def command() -> None:
    """What the junk classifier has learnt."""


@command.command("train")
@click.argument("kind", type=click.Choice(["spam", "ham"]))
@click.argument("paths", nargs=-1, metavar="[FILE|MBOX|MAILDIR|-]...")
@click.option("--account", default="", metavar="ADDRESS", help="Whose classifier; without it the one that all share.")
@click.option("--mailbox", default="", metavar="NAME", help="All messages of this mailbox of the account.")
@json_option
@click.pass_obj
def train(
    config_file: str | None, kind: str, paths: tuple[str, ...], account: str, mailbox: str, *, as_json: bool
) -> None:
    """Learn that messages are junk (spam) or wanted (ham). Each message is learnt once; learnt the other way, the first
    lesson is taken back."""
    if bool(paths) == bool(mailbox):
        raise click.UsageError("say which files, or --mailbox")
    if mailbox and not account:
        raise click.UsageError("--mailbox needs --account")
    total = {"learnt": 0, "passed_over": 0}
    with connection.connect(config_file) as client:
        if mailbox:
            words = {"kind": kind, "account": account, "mailbox": mailbox}
            total = client.call("junk.train_mailbox", words, _show)
        else:
            for batch in _batches(message for path in paths for message in messages_of(path)):
                made = client.call("junk.train", {"kind": kind, "account": account, "messages": batch})
                total = {name: count + made[name] for name, count in total.items()}
                _show(total["learnt"] + total["passed_over"], 0, account)
    if not mailbox and not any(total.values()):
        raise ControlError("junk.no_messages", f"no message was found in {', '.join(map(str, paths))}")
    if as_json:
        print_json(total)
        return
    click.echo(f"{total['learnt']} learnt, {total['passed_over']} known already")


@command.command("status")
@click.option("--account", default="", metavar="ADDRESS", help="One account only.")
@json_option
@click.pass_obj
def status(config_file: str | None, account: str, *, as_json: bool) -> None:
    """How many messages each classifier has learnt, and whether that is enough for it to have a say.

    KEPT are those of the wanted ones that were answered, flagged, filed or kept for a day."""
    found = connection.call(config_file, "junk.status", account=account)
    if as_json:
        print_json(found)
        return
    print_table(
        ["ACCOUNT", "SPAM", "HAM", "KEPT", "HAS A SAY"],
        [
            (each["account"] or "(all together)", each["spam"], each["ham"], each["kept"], _say(each, found["needed"]))
            for each in found["accounts"]
        ],
        "Nothing was learnt.",
    )


def _say(each: dict[str, Any], needed: int) -> str:
    """Whether it is heard, or what is missing."""
    if each["has_a_say"]:
        return "yes"
    missing = [f"{needed - each[kind]} {kind}" for kind in ("spam", "ham") if each[kind] < needed]
    return f"after {' and '.join(missing)} more"


def messages_of(path: str) -> Iterator[tuple[bytes, str]]:
    """(beginning, SHA-256) of each message of a file, an mbox, a Maildir or standard input (`-`)."""
    if path == "-":
        yield from _of_file(sys.stdin.buffer)
        return
    place = Path(path)
    if not place.is_dir():
        with place.open("rb") as file:
            yield from _of_file(file)
        return
    folders = [place / name for name in ("cur", "new") if (place / name).is_dir()] or [place]
    for folder in folders:
        for each in sorted(folder.iterdir()):
            if each.is_file() and not each.name.startswith("."):
                with each.open("rb") as file:
                    yield from _of_file(file)


def _of_file(file: BinaryIO) -> Iterator[tuple[bytes, str]]:
    """An mbox when it begins like one, else one message."""
    digest, head, is_first, is_mbox, before = hashlib.sha256(), bytearray(), True, False, b"\n"
    while line := file.readline(_MAX_LINE):
        starts = line.startswith(b"From ") and before.endswith(b"\n")
        if is_first:
            is_mbox, is_first = starts, False
        if is_mbox and starts:
            if head:
                yield bytes(head), digest.hexdigest()
            digest, head = hashlib.sha256(), bytearray()
        else:
            digest.update(line)
            if len(head) < _HEAD_BYTES:
                head += line
        before = line
    if head:
        yield bytes(head), digest.hexdigest()


@command.command("rejects")
@click.argument("address")
@click.option("--recover", type=int, multiple=True, metavar="NUMBER", help="Put this one of the list into the inbox.")
@json_option
@click.pass_obj
def rejects(config_file: str | None, address: str, recover: tuple[int, ...], *, as_json: bool) -> None:
    """What was refused by its score and is kept for ADDRESS for some days; --recover delivers it after all."""
    found = connection.call(config_file, "rejects.list", address=address, limit=500)
    if recover:
        words: dict[str, Any] = {"address": address, "uidvalidity": found["uidvalidity"], "uids": list(recover)}
        found = connection.call(config_file, "rejects.recover", **words)
    if as_json:
        print_json(found)
    elif recover:
        gone = f", {found['left_out']} gone already" if found["left_out"] else ""
        click.echo(f"{found['recovered']} put into the inbox of {clean(address)}{gone}.")
    else:
        print_table(
            ["NUMBER", "REFUSED", "SIZE", "FROM", "SUBJECT"],
            [
                (each["uid"], time(each["refused_at"]), size(each["size_bytes"]), each["from"], each["subject"])
                for each in found["rejects"]
            ],
            f"Nothing that was refused is kept for {clean(address)}.",
        )


def _batches(messages: Iterable[tuple[bytes, str]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    room = _BATCH_BYTES
    for head, digest in messages:
        if batch and (room < len(head) or len(batch) == _BATCH_MESSAGES):
            yield batch
            batch, room = [], _BATCH_BYTES
        batch.append({"content": base64.b64encode(head).decode("ascii"), "digest": digest})
        room -= len(head)
    if batch:
        yield batch


def _show(done: int, total: int, address: str) -> None:
    """One line that is written over, where somebody watches."""
    if sys.stderr.isatty():
        of = f" of {total}" if total else ""
        click.echo(f"\r{clean(address)}: {done}{of}\x1b[K\r", nl=False, err=True)
