from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from mailbox_app.mailqueue.model import Envelope, Fate, Outcome
from mailbox_app.outbound import pool, smtp_client, transport
from tests.outbound.conftest import MakeLease, MakeTransport
from tests.support.dns import FakeResolver
from tests.support.queue import MESSAGE
from tests.support.remote import FakeRemote


async def deliver_one(make_transport: MakeTransport, make_lease: MakeLease, **config: object) -> Outcome:
    [outcome] = await make_transport(**config).deliver(make_lease())
    return outcome


# --- a good day


async def test_a_message_arrives_byte_for_byte(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote
) -> None:
    outcome = await deliver_one(make_transport, make_lease)
    assert (outcome.fate, outcome.code, outcome.enhanced, outcome.tls) == (Fate.DELIVERED, 250, "2.0.0", "")
    assert outcome.host == "mx.there.example [127.0.0.1]"
    [message] = remote.messages
    assert (message.sender, message.recipients, message.content) == (
        "alice@here.example", ["bob@there.example"], MESSAGE,
    )  # fmt: skip


async def test_a_connection_is_used_again_for_the_next_message(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote, server_tls: ssl.SSLContext
) -> None:
    remote.script.tls = server_tls
    remote.script.rcpt = {"no@there.example": b"550 5.1.1 who?"}
    made = make_transport()
    for addresses in (["a@there.example"], ["no@there.example"], ["b@there.example"]):
        [outcome] = await made.deliver(make_lease(*addresses))
        assert outcome.tls
    assert (remote.connections, len(remote.messages)) == (1, 2)
    made.close()


@pytest.mark.parametrize(("fresh_seconds", "place"), [(0.0, "RSET"), (60.0, "MAIL"), (60.0, "DATA")])
async def test_a_kept_connection_that_is_gone_is_replaced(
    make_transport: MakeTransport,
    make_lease: MakeLease,
    remote: FakeRemote,
    monkeypatch: pytest.MonkeyPatch,
    fresh_seconds: float,
    place: str,
) -> None:
    monkeypatch.setattr(pool, "_FRESH_SECONDS", fresh_seconds)
    made = make_transport()
    await made.deliver(make_lease())
    remote.script.close_at = place
    remote.script.close_once = True
    [outcome] = await made.deliver(make_lease())
    assert outcome.fate is Fate.DELIVERED
    assert remote.connections == 2
    made.close()


async def test_a_transaction_that_was_left_open_is_ended_first(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote
) -> None:
    remote.script.rcpt = {"no@there.example": b"550 5.1.1 who?"}
    made = make_transport()
    for addresses in (["a@there.example"], ["no@there.example"], ["b@there.example"]):
        await made.deliver(make_lease(*addresses))
    assert remote.connections == 1
    assert [line[:4] for line in remote.commands if line[:4] in ("MAIL", "RSET")] == ["MAIL", "MAIL", "RSET", "MAIL"]
    made.close()


async def test_a_kept_connection_that_is_silent_is_soon_replaced(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_SIGN_OF_LIFE_SECONDS", 0.05)
    monkeypatch.setattr(pool, "_FRESH_SECONDS", 0.0)
    made = make_transport()
    await made.deliver(make_lease())
    remote.script.null_at = "RSET"
    [outcome] = await made.deliver(make_lease())
    assert (outcome.fate, remote.connections) == (Fate.DELIVERED, 2)
    made.close()


async def test_a_connection_with_answers_nobody_asked_for_is_not_used_again(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote
) -> None:
    remote.script.final = b"250 2.0.0 taken\r\n250 2.0.0 and the next one too"
    made = make_transport()
    await made.deliver(make_lease())
    await made.deliver(make_lease())
    assert (remote.connections, len(remote.messages)) == (2, 2)
    made.close()


async def test_a_kept_connection_is_left_politely(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote
) -> None:
    made = make_transport()
    await made.deliver(make_lease())
    made.close()
    while remote.commands[-1] != "QUIT":  # noqa: ASYNC110
        await asyncio.sleep(0.002)


async def test_kept_connections_are_given_up_soon(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_IDLE_SECONDS", 0.0)
    await make_transport().deliver(make_lease())
    while remote.commands[-1] != "QUIT":  # noqa: ASYNC110
        await asyncio.sleep(0.002)


@pytest.mark.parametrize("pipelining", [True, False])
async def test_recipients_of_one_domain_go_in_one_transaction_each_with_its_own_outcome(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote, pipelining: bool
) -> None:
    if not pipelining:
        remote.script.extensions = ()
    remote.script.rcpt = {
        "no@there.example": b"550 5.1.1 no such user",
        "later@there.example": b"451-4.7.1 come\r\n451 4.7.1 back",
    }
    outcomes = await make_transport().deliver(make_lease("ok@there.example", "no@there.example", "later@there.example"))
    assert {outcome.address: (outcome.fate, outcome.code) for outcome in outcomes} == {
        "ok@there.example": (Fate.DELIVERED, 250),
        "no@there.example": (Fate.FAILED, 550),
        "later@there.example": (Fate.DEFERRED, 451),
    }
    assert outcomes[1].enhanced == "5.1.1"
    assert outcomes[2].text == "4.7.1 come 4.7.1 back"
    assert remote.connections == 1
    assert remote.messages[0].recipients == ["ok@there.example"]


@pytest.mark.parametrize("size", [0, 1, 262_143, 262_144, 262_145, 1_000_003])
async def test_messages_of_any_size_and_ending_arrive_whole(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote, size: int
) -> None:
    content = (b"..\r\n.x\r\n" * (size // 8 + 1))[:size]
    await make_transport().deliver(make_lease(content=content))
    expected = content if content.endswith(b"\r\n") or not content else content + b"\r\n"
    if content.endswith(b"\r"):  # half a line end: it leaves whole
        expected = content + b"\n"
    assert remote.messages[0].content == expected


async def test_parameters_are_said_when_the_server_knows_them(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote
) -> None:
    remote.script.extensions = ("SIZE", "8BITMIME", "DSN", "SMTPUTF8")
    envelope = Envelope("alice@here.example", "8BITMIME", True, "HDRS", "id+2B1")
    lease = make_lease(envelope=envelope, notify="FAILURE,DELAY", orcpt="rfc822;Bob@there.example")
    await make_transport().deliver(lease)
    await make_transport().deliver(make_lease())
    first, second = remote.messages
    assert first.mail_parameters == f"SIZE={len(MESSAGE)} BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=id+2B1"
    assert first.rcpt_parameters == ["NOTIFY=FAILURE,DELAY ORCPT=rfc822;Bob@there.example"]
    assert (second.mail_parameters, second.rcpt_parameters) == (f"SIZE={len(MESSAGE)}", [""])


async def test_an_original_recipient_in_utf8_goes_as_code_points_to_who_takes_no_utf8(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote
) -> None:
    """RFC 6533 3."""
    remote.script.extensions = ("DSN",)
    [outcome] = await make_transport().deliver(make_lease(orcpt="utf-8;jörg@here.example"))
    assert remote.messages[0].rcpt_parameters == [r"ORCPT=utf-8;j\x{F6}rg@here.example"]
    assert not outcome.relayed  # it reports itself


async def test_a_host_without_reports_is_noted(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote
) -> None:
    remote.script.extensions = ("SIZE",)
    [outcome] = await make_transport().deliver(make_lease(notify="SUCCESS"))
    assert outcome.relayed


async def test_parameters_are_not_said_to_a_server_that_does_not_know_them(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote
) -> None:
    remote.script.ehlo = b"502 5.5.1 no EHLO here"
    envelope = Envelope("alice@here.example", "8BITMIME", True, "HDRS", "id1")
    [outcome] = await make_transport().deliver(make_lease(envelope=envelope, notify="NEVER"))
    assert outcome.fate is Fate.DELIVERED
    assert remote.commands[:4] == [
        "EHLO here.example", "HELO here.example", "MAIL FROM:<alice@here.example>", "RCPT TO:<bob@there.example>",
    ]  # fmt: skip


async def test_the_null_sender_is_said_as_such(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote
) -> None:
    await make_transport().deliver(make_lease(envelope=Envelope("")))
    assert remote.commands[1].startswith("MAIL FROM:<> ")


@pytest.mark.parametrize("answer", [b"452 4.5.3 too many recipients", b"552 too many recipients"])
async def test_recipients_beyond_the_servers_limit_follow_at_once(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote, answer: bytes
) -> None:
    remote.script.recipients_at_once = 2
    remote.script.too_many = answer
    outcomes = await make_transport().deliver(make_lease(*(f"r{number}@there.example" for number in range(5))))
    assert [outcome.fate for outcome in outcomes] == [Fate.DELIVERED] * 5
    assert [len(message.recipients) for message in remote.messages] == [2, 2, 1]
    assert remote.connections == 1


# --- refusals


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("place", ["mail", "data", "final"])
@pytest.mark.parametrize(("reply", "fate"), [(b"550 5.7.1 no", Fate.FAILED), (b"452 4.3.1 full", Fate.DEFERRED)])
async def test_a_refusal_of_the_message_holds_for_all_accepted_recipients(
    make_transport: MakeTransport,
    make_lease: MakeLease,
    remote: FakeRemote,
    pipelining: bool,
    place: str,
    reply: bytes,
    fate: Fate,
) -> None:
    if not pipelining:
        remote.script.extensions = ()
    setattr(remote.script, place, reply)
    outcomes = await make_transport().deliver(make_lease("a@there.example", "b@there.example"))
    assert [(outcome.fate, outcome.text) for outcome in outcomes] == [(fate, reply[4:].decode())] * 2
    assert remote.messages == []


async def test_all_recipients_refused_sends_no_message(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote
) -> None:
    remote.script.rcpt = {"bob@there.example": b"550 5.1.1 who?"}
    outcome = await deliver_one(make_transport, make_lease)
    assert (outcome.fate, outcome.text) == (Fate.FAILED, "5.1.1 who?")


async def test_a_refusal_in_the_middle_of_the_message_counts(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote
) -> None:
    remote.script.early = b"552 5.3.4 too big"
    [outcome] = await make_transport().deliver(make_lease(content=b"x" * 998 + b"\r\n" + b"y\r\n" * 2_000_000))
    assert (outcome.fate, outcome.code) == (Fate.FAILED, 552)


@pytest.mark.parametrize("place", ["data", "early"])
async def test_a_yes_before_the_end_of_the_message_is_no_delivery(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote, place: str
) -> None:
    setattr(remote.script, place, b"250 2.0.0 ok")
    outcome = (await make_transport().deliver(make_lease(content=b"A: b\r\n\r\n" + b"x\r\n" * 400_000)))[0]
    assert (outcome.fate, outcome.code) == (Fate.DEFERRED, 451)
    assert remote.messages == []


async def test_a_message_above_the_servers_size_is_not_sent(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote
) -> None:
    remote.script.extensions = ("SIZE 50",)
    outcome = await deliver_one(make_transport, make_lease)
    assert (outcome.fate, outcome.enhanced) == (Fate.FAILED, "5.3.4")
    assert not any(command.startswith("MAIL") for command in remote.commands)


@pytest.mark.parametrize(
    ("address", "content", "enhanced"),
    [("bob@there.example", MESSAGE, "2.0.0"), ("böb@there.example", MESSAGE, "5.6.7"),
     ("bob@there.example", "Subject: ü\r\n\r\nx\r\n".encode(), "5.6.7"),
     ("bob@there.example", "Subject: u\r\n\r\nü\r\n".encode(), "2.0.0")],
)  # fmt: skip
async def test_internationalised_mail_fails_where_it_is_needed_and_not_taken(
    make_transport: MakeTransport, make_lease: MakeLease, address: str, content: bytes, enhanced: str
) -> None:
    lease = make_lease(address, content=content, envelope=Envelope("alice@here.example", smtputf8=True))
    [outcome] = await make_transport().deliver(lease)
    assert outcome.enhanced == enhanced


@pytest.mark.parametrize("address", ["a\r\nRCPT TO:<c@d>@there.example", "a>b@there.example", "\x7f@there.example"])
async def test_an_address_that_would_break_the_line_is_never_sent(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote, address: str
) -> None:
    [outcome] = await make_transport().deliver(make_lease(address))
    assert (outcome.fate, outcome.enhanced) == (Fate.FAILED, "5.1.3")
    assert not any(command.startswith("RCPT") for command in remote.commands)


# --- hosts that are of no use


@pytest.mark.parametrize("place", ["connect", "greeting", "EHLO", "MAIL", "RCPT", "DATA", "body"])
async def test_a_connection_lost_before_the_end_of_the_message_is_deferred(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote, place: str
) -> None:
    remote.script.close_at = place
    outcome = await deliver_one(make_transport, make_lease)
    assert (outcome.fate, outcome.enhanced) == (Fate.DEFERRED, "4.4.2")


async def test_a_connection_lost_after_the_end_of_the_message_is_deferred_and_told_as_such(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote, resolver: FakeResolver
) -> None:
    resolver.zone["mx.there.example", "A"] = ["127.0.0.1", "127.0.0.1"]
    remote.script.close_at = "final"
    outcome = await deliver_one(make_transport, make_lease)
    assert outcome.fate is Fate.DEFERRED
    assert "may have been taken" in outcome.text
    assert remote.connections == 1  # not tried again at the next address: that could be a duplicate


@pytest.mark.parametrize("place", ["connect", "EHLO", "MAIL", "DATA", "body", "final"])
async def test_a_silent_server_is_left_in_the_end(
    make_transport: MakeTransport,
    make_lease: MakeLease,
    remote: FakeRemote,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("GREETING_SECONDS", "COMMAND_SECONDS", "DATA_BLOCK_SECONDS", "DATA_END_SECONDS"):
        monkeypatch.setattr(smtp_client, name, 0.05)
    remote.script.null_at = place
    outcome = await deliver_one(make_transport, make_lease)
    assert (outcome.fate, outcome.enhanced) == (Fate.DEFERRED, "4.4.2")


async def test_the_whole_walk_has_one_deadline(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_TOTAL_SECONDS", 0.05)
    remote.script.null_at = "MAIL"
    assert "too long" in (await deliver_one(make_transport, make_lease)).text


@pytest.mark.parametrize(
    "greeting",
    [
        b"hello there",
        b"220" + b"x" * 5000,
        b"220-" + b"\r\n220-".join([b"x" * 1000] * 1000),
        b"\xff" * 200_000,
        b"999 x",
    ],
)
async def test_garbage_is_bounded_and_temporary(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote, greeting: bytes
) -> None:
    remote.script.greeting = greeting
    outcome = await deliver_one(make_transport, make_lease)
    assert (outcome.fate, outcome.enhanced) == (Fate.DEFERRED, "4.5.0")


@pytest.mark.parametrize(
    ("greeting", "fate"), [(b"554 5.7.1 you are listed", Fate.FAILED), (b"421 4.3.2 busy", Fate.DEFERRED)]
)
async def test_what_every_host_says_in_its_greeting_decides(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote, greeting: bytes, fate: Fate
) -> None:
    remote.script.greeting = greeting
    outcome = await deliver_one(make_transport, make_lease)
    assert outcome.fate is fate
    assert greeting[4:].decode() in outcome.text
    assert outcome.said == greeting.decode()


async def test_the_next_host_is_tried_when_one_is_of_no_use(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote, resolver: FakeResolver
) -> None:
    resolver.zone["there.example", "MX"] = ["5 dead.there.example.", "7 gone.there.example.", "10 mx.there.example."]
    resolver.zone["dead.there.example", "A"] = ["127.0.0.9"]
    outcome = await deliver_one(make_transport, make_lease)
    assert outcome.fate is Fate.DELIVERED
    assert outcome.host.startswith("mx.there.example")


async def test_a_verdict_about_a_recipient_is_not_asked_again_at_the_next_host(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote, resolver: FakeResolver
) -> None:
    resolver.zone["mx.there.example", "A"] = ["127.0.0.1", "127.0.0.1"]
    remote.script.rcpt = {"no@there.example": b"550 5.1.1 who?"}
    remote.script.close_at = "DATA"
    outcomes = await make_transport().deliver(make_lease("no@there.example", "ok@there.example"))
    assert [outcome.fate for outcome in outcomes] == [Fate.FAILED, Fate.DEFERRED]
    assert remote.commands.count("RCPT TO:<no@there.example>") == 1
    assert remote.commands.count("RCPT TO:<ok@there.example>") == 2


async def test_private_addresses_are_not_connected_to_unless_allowed(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote
) -> None:
    outcome = await deliver_one(make_transport, make_lease, allow_private_addresses=False)
    assert (outcome.fate, outcome.enhanced) == (Fate.DEFERRED, "4.4.4")
    assert remote.connections == 0


async def test_a_smarthost_takes_everything(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote
) -> None:
    lease = make_lease("x@nowhere.example")
    config = {"smarthost": f"127.0.0.1:{remote.port}", "allow_private_addresses": False, "port": 1}
    [outcome] = await make_transport(**config).deliver(lease)
    assert outcome.fate is Fate.DELIVERED


async def test_our_own_name_as_best_mx_is_a_loop(
    make_transport: MakeTransport, make_lease: MakeLease, resolver: FakeResolver
) -> None:
    resolver.zone["there.example", "MX"] = ["10 Here.example.", "20 mx.there.example."]
    outcome = await deliver_one(make_transport, make_lease)
    assert (outcome.fate, outcome.enhanced) == (Fate.LOOP, "5.4.6")


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"short")])
async def test_a_lost_or_damaged_spool_file_is_put_aside_and_nothing_is_sent(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote, damage: Callable[[Path], object]
) -> None:
    lease = make_lease()
    damage(Path(lease.spool_path))
    [outcome] = await make_transport().deliver(lease)
    assert (outcome.fate, outcome.enhanced) == (Fate.QUARANTINED, "4.3.0")
    assert remote.messages == []


async def test_a_disk_in_trouble_defers(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = make_lease()

    def broken(path: str, size_bytes: int) -> None:
        raise OSError(errno.EIO, "Input/output error", path)

    monkeypatch.setattr("mailbox_app.outbound.transaction._open", broken)
    [outcome] = await make_transport().deliver(lease)
    assert (outcome.fate, outcome.enhanced) == (Fate.DEFERRED, "4.3.0")
    assert remote.messages == []


async def test_cancellation_passes_through(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote
) -> None:
    remote.script.null_at = "MAIL"
    task = asyncio.create_task(make_transport().deliver(make_lease()))
    while "MAIL" not in " ".join(remote.commands):  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# --- TLS


async def test_starttls_is_used_when_offered_whoever_signed(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote, server_tls: ssl.SSLContext
) -> None:
    remote.script.tls = server_tls
    outcome = await deliver_one(make_transport, make_lease)
    assert outcome.fate is Fate.DELIVERED
    assert outcome.tls.startswith("TLSv1.3 TLS_")
    assert remote.messages[0].tls
    assert [command for command in remote.commands if command.startswith("EHLO")] == ["EHLO here.example"] * 2


async def test_a_failed_handshake_never_leads_to_clear_text(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote
) -> None:
    remote.script.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # has no certificate
    outcome = await deliver_one(make_transport, make_lease)
    assert (outcome.fate, outcome.enhanced) == (Fate.DEFERRED, "4.7.5")
    assert not any(command.startswith("MAIL") for command in remote.commands)


async def test_a_reply_injected_behind_starttls_ends_the_use_of_the_host(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote, server_tls: ssl.SSLContext
) -> None:
    remote.script.tls = server_tls
    remote.script.inject_after_starttls = b"250 mx.evil.example"
    outcome = await deliver_one(make_transport, make_lease)
    assert outcome.fate is Fate.DEFERRED
    assert "in clear after STARTTLS" in outcome.text


async def test_required_tls_means_encrypted_and_the_right_server(
    make_transport: MakeTransport,
    make_lease: MakeLease,
    remote: FakeRemote,
    server_tls: ssl.SSLContext,
    certificate: tuple[Path, Path],
    resolver: FakeResolver,
) -> None:
    outcome = await deliver_one(make_transport, make_lease, require_tls=True)
    assert (outcome.fate, outcome.enhanced) == (Fate.DEFERRED, "4.7.10")
    remote.script.tls = server_tls
    outcome = await deliver_one(make_transport, make_lease, require_tls=True)
    assert (outcome.fate, outcome.enhanced) == (Fate.DEFERRED, "4.7.5")
    assert "not trusted" in outcome.text
    trusting = {"require_tls": True, "ca_file": str(certificate[0])}
    assert (await deliver_one(make_transport, make_lease, **trusting)).fate is Fate.DELIVERED
    resolver.zone["there.example", "MX"] = ["10 other.there.example."]
    resolver.zone["other.there.example", "A"] = ["127.0.0.1"]
    assert (await deliver_one(make_transport, make_lease, **trusting)).fate is Fate.DEFERRED
    assert len(remote.messages) == 1


# --- REQUIRETLS

REQUIRING = Envelope("alice@here.example", require_tls=True)


@pytest.fixture
def safe_way(remote: FakeRemote, server_tls: ssl.SSLContext, resolver: FakeResolver) -> None:
    """Signed DNS, TLS, and a server that promises the same for the rest of the way."""
    resolver.authenticated.add("there.example")
    remote.script.tls = server_tls
    remote.script.extensions = (*remote.script.extensions, "REQUIRETLS")


@pytest.mark.usefixtures("safe_way")
async def test_requiretls_is_passed_on_to_a_server_that_proves_itself(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote, certificate: tuple[Path, Path]
) -> None:
    made = make_transport(ca_file=str(certificate[0]))
    [outcome] = await made.deliver(make_lease(envelope=REQUIRING))
    assert outcome.fate is Fate.DELIVERED
    await made.deliver(make_lease())
    asked, plain = remote.messages
    assert (asked.tls, "REQUIRETLS" in asked.mail_parameters.split()) == (True, True)
    assert "REQUIRETLS" not in plain.mail_parameters
    assert remote.connections == 2, "a proven connection and one that is not are different ones"
    made.close()


@pytest.mark.usefixtures("safe_way")
@pytest.mark.parametrize("missing", ["signed DNS", "the word", "a known certificate", "TLS"])
async def test_requiretls_stays_when_the_way_is_not_safe(
    make_transport: MakeTransport,
    make_lease: MakeLease,
    remote: FakeRemote,
    resolver: FakeResolver,
    certificate: tuple[Path, Path],
    missing: str,
) -> None:
    trusting = {"ca_file": str(certificate[0])}
    expected = (Fate.FAILED, "5.7.30")
    match missing:
        case "signed DNS":
            resolver.authenticated.clear()
        case "the word":
            remote.script.extensions = ("PIPELINING",)
        case "a known certificate":
            trusting, expected = {}, (Fate.DEFERRED, "4.7.5")
        case "TLS":
            remote.script.tls, expected = None, (Fate.FAILED, "5.7.10")  # RFC 8689 4.2.1
    [outcome] = await make_transport(**trusting).deliver(make_lease(envelope=REQUIRING))
    assert (outcome.fate, outcome.enhanced) == expected
    assert remote.messages == []


async def test_a_report_about_mail_with_requiretls_goes_back_as_it_can(
    make_transport: MakeTransport, make_lease: MakeLease, remote: FakeRemote
) -> None:
    [outcome] = await make_transport().deliver(make_lease(envelope=Envelope("", require_tls=True)))
    assert outcome.fate is Fate.DELIVERED
    assert "REQUIRETLS" not in remote.messages[0].mail_parameters
