"""Every reader of outside input: (group, name, function, seed corpus). A new parser is one more row.

A function takes the bytes of one input and returns when they were read or refused with the parser's own error;
anything else that comes out is a fault, and so is an answer that contradicts itself.
"""

from __future__ import annotations

import contextlib
import random
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from mailbox_app.accounts import addresses
from mailbox_app.config.load import parse as parse_config
from mailbox_app.control.wire import decode_answer, decode_request
from mailbox_app.errors import AccountError, ConfigError, ControlError, MailboxError, ProtocolError, StoreError
from mailbox_app.mailauth.arc import read_chain
from mailbox_app.mailauth.dmarc import author_domain
from mailbox_app.mailauth.dmarc_record import parse_record
from mailbox_app.mailauth.key_records import find_key
from mailbox_app.mailauth.tag_list import TagListError, parse_tags
from mailbox_app.outbound.dot_stuffing import DotStuffer
from mailbox_app.outbound.replies import ReplyReader
from mailbox_app.proto.authres import Method, compose_authres, forged_authres, parse_authres
from mailbox_app.proto.dates import parse_date, parse_internal_date
from mailbox_app.proto.dsn import DsnRecipient, DsnReport, compose_dsn
from mailbox_app.proto.header import Header, decode_words
from mailbox_app.proto.imap import mailbox_name
from mailbox_app.proto.imap.framing import Announced, Complete, Framer, FramingLimits
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.proto.imap.url import parse_url
from mailbox_app.proto.message import MessageScanner
from mailbox_app.proto.mime import PartTable
from mailbox_app.proto.plain_text import clean
from mailbox_app.proto.pop3 import command_line
from mailbox_app.proto.pop3.framing import LineFramer
from mailbox_app.proto.pop3.message_text import MessageText
from mailbox_app.proto.sasl.bearer import OAuthBearer, XOAuth2
from mailbox_app.proto.sasl.external import External
from mailbox_app.proto.sasl.mechanism import Challenge, ClearChannel, ProofClaim
from mailbox_app.proto.sasl.plain import Login, Plain
from mailbox_app.proto.sasl.scram import Scram
from mailbox_app.proto.sasl.scram_keys import derive
from mailbox_app.proto.smtp.commands import parse_mail, parse_rcpt, split_command
from mailbox_app.proto.smtp.dot_stream import DotStream, LineEndings
from mailbox_app.proto.text.charsets import decoder
from mailbox_app.proto.text.folding import fold
from mailbox_app.proto.text.html_text import HtmlText
from mailbox_app.proto.text.message import body_texts
from mailbox_app.proto.text.preview import LONGEST, preview
from mailbox_app.proto.transfer_decoding import transfer_decoder
from mailbox_app.services.imap.commands import COMMANDS
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.store.maildir import filenames, names
from tests.fuzz.access import TARGETS as ACCESS
from tests.fuzz.content import TARGETS as CONTENT
from tests.fuzz.corpus import ARGUMENTS, CONFIG, FRAMES, MAIL, NAMES, REPLIES
from tests.fuzz.doors import TARGETS as DOORS
from tests.fuzz.filters import TARGETS as FILTERS
from tests.fuzz.forwarded import TARGETS as FORWARDED
from tests.fuzz.outbound import TARGETS as OUTBOUND
from tests.fuzz.outbound_tls import TARGETS as OUTBOUND_TLS
from tests.fuzz.reports import TARGETS as REPORTS
from tests.fuzz.target import Target
from tests.proto.fuzz import check_canonical, check_readers, check_scanner
from tests.support.rough import SMTP_FRAGMENTS


def smtp_command(data: bytes) -> None:
    verb, argument = split_command(data)
    assert verb == verb.upper()
    for parse in (
        parse_mail,
        lambda text: parse_rcpt(text, smtputf8=True),
        lambda text: parse_rcpt(text, smtputf8=False),
    ):
        try:
            parse(argument)
        except ProtocolError:
            continue
        except MailboxError as error:
            assert not error.temporary  # noqa: PT017


def dot_stream(data: bytes) -> None:
    """The same for every cut, and nothing that a bare line end lets through."""
    found = []
    for step in (len(data) + 1, 1, 3):
        stream, content, rest = DotStream(), b"", b""
        for start in range(0, len(data), step):
            if stream.done:
                rest += data[start : start + step]
            else:
                content += stream.feed(data[start : start + step])
        found.append((stream.done, bool(stream.fault), b"" if stream.fault else content, stream.rest + rest))
        endings = LineEndings()
        endings.feed(content)
        if stream.done and not stream.fault:
            endings.finish()
            assert not endings.fault
    whole = found[0]
    for one in found[1:]:
        assert one[0] == whole[0]
        if one[0]:
            assert one == whole
    stuffer = DotStuffer()
    stuffed = b"".join(stuffer.chunk(data[start : start + 2]) for start in range(0, len(data), 2)) + stuffer.end()
    assert not data.count(b"\0") or stuffed


def reply(data: bytes) -> None:
    texts = []
    for step in (len(data) + 1, 1):
        reader, answers = ReplyReader(), []
        try:
            for start in range(0, len(data), step):
                reader.feed(data[start : start + step])
                while (answer := reader.next_reply()) is not None:
                    answers.append((answer.code, answer.enhanced, answer.text))
        except ProtocolError:
            answers.append((0, "", ""))
        texts.append(answers)
    assert [each for each in texts[0] if each[0]][: len(texts[1])] == [each for each in texts[1] if each[0]][
        : len(texts[0])
    ]


def message(data: bytes) -> None:
    chance = random.Random(len(data))
    check_scanner(data, chance)
    check_canonical(data, chance)


def part_table(data: bytes) -> None:
    """Bytes of our own index; damage must not look like anything but damage."""
    try:
        table = PartTable.decode(data)
        for section in ((), (1,), (1, 2), (2, 1, 1)):
            table.find(section)
    except (ValueError, IndexError, MailboxError):
        return


def dsn(data: bytes) -> None:
    """Whatever strangers wrote, one report comes out, in lines that are lines."""
    text = data.decode("utf-8", "surrogateescape")
    now = datetime(2026, 1, 5, 10, tzinfo=UTC)
    recipient = DsnRecipient(text[:300], text[:90] or None, "failed", "5.1.1", text[:60], text, text[:10])
    report = DsnReport(
        reporting_mta="mx.example.org", sender="a@example.net", arrived_at=now, envid=text[:100], queue_id="q1",
        recipients=[recipient], original_header=data, original_message=None, message_id="<1@mx.example.org>", now=now,
        from_address="postmaster@example.org",
    )  # fmt: skip
    made = compose_dsn(report)
    assert made.count(b"\n") == made.count(b"\r") == made.count(b"\r\n")
    assert b"\0" not in made
    assert max(map(len, made.split(b"\r\n"))) <= 998


def authres(data: bytes) -> None:
    forged_authres(Header.parse(b"Authentication-Results: " + data), "mail.example.org")
    parse_authres(data)
    text = data.decode("latin-1")
    made = compose_authres("mail.example.org", [Method("spf", "pass", [("smtp.mailfrom", text)], text, text)])
    assert made.replace(b"\r\n\t", b"").replace(b"\r\n ", b"").count(b"\n") == 1


def records(data: bytes) -> None:
    parse_record("a.example", data.decode("latin-1"))
    parse_record("a.example", "v=DMARC1;" + data.decode("latin-1"))
    find_key([data.decode("latin-1"), "p=" + data.decode("latin-1")], b"rsa-sha256")
    with contextlib.suppress(TagListError):
        assert parse_tags(data)
    read_chain(Header.parse(data))
    author_domain(Header.parse(data))
    author_domain(Header.parse(b"From: " + data))


def words(data: bytes) -> None:
    text = decode_words(data)
    assert "\r" not in text
    assert "\0" not in text
    parse_date(data)
    try:
        parse_internal_date(data)
    except ProtocolError:
        return


def imap_framing(data: bytes) -> None:
    """The same events for every cut, within the limits."""
    limits = FramingLimits(line_bytes=300, literal_bytes=40, command_bytes=500, literals=3)
    found = []
    for step in (len(data) + 1, 1, 7):
        framer, events = Framer(limits), []
        for start in range(0, len(data), step):
            framer.feed(data[start : start + step])
            while (event := framer.next_event()) is not None:
                if isinstance(event, Announced):
                    assert event.size >= 0
                    framer.collect()
                if isinstance(event, Complete):
                    assert len(event.data) <= limits.command_bytes + 2
                    events.append(event.data)
        assert step != 1 or framer.buffered <= limits.line_bytes + 1
        found.append(events)
    assert found[1] == found[2]
    assert found[0][: len(found[1])] == found[1][: len(found[0])]


def imap_command(data: bytes) -> None:
    """Every command's own parser."""
    for command in COMMANDS:
        cursor = Cursor(data)
        try:
            command.parse(cursor)
            cursor.end()
        except (ProtocolError, StoreError, Refusal):
            continue


def imap_url(data: bytes) -> None:
    """What CATENATE names; a URL that can be read names a message."""
    try:
        url = parse_url(data)
    except ProtocolError:
        return
    assert url.uid > 0


def transfer_encodings(data: bytes) -> None:
    """The same bytes decoded whole and in pieces."""
    for encoding in (b"base64", b"quoted-printable", b"8bit"):
        results = []
        for size in (len(data) or 1, 1, 7):
            decoder = transfer_decoder(encoding)
            assert decoder is not None
            pieces = [decoder.feed(data[start : start + size]) for start in range(0, len(data), size)]
            results.append(b"".join([*pieces, decoder.finish()]))
        assert results[0] == results[1] == results[2]


def mailbox_path(data: bytes) -> None:
    """From the wire to a folder and back, and never out of the account."""
    try:
        wire = mailbox_name.decode(data)
        assert mailbox_name.encode(wire) == data or not wire.isprintable()
    except ProtocolError:
        wire = data.decode("utf-8", "surrogateescape")
    try:
        name = names.canonical(wire)
    except StoreError:
        pass
    else:
        folder = names.folder_of(name)
        assert folder == "" or (folder.startswith(".") and folder not in {".", ".."})
        assert "/" not in folder
        assert folder.isascii()
        assert names.name_of(folder) == name
    found = names.name_of("." + wire)
    assert found is None or names.canonical(found) == found
    try:
        place = names.account_folder(wire.encode("utf-8", "replace").decode())
    except StoreError:
        return
    assert not place.startswith(".")
    assert "/" not in place


def file_name(data: bytes) -> None:
    stem, flag_letters = filenames.split(data.decode("utf-8", "surrogateescape"))
    filenames.flags_of(flag_letters)
    filenames.uid_of(stem)
    filenames.seconds_of(stem)
    filenames.delivered(stem)


def address(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    addresses.canonical(text)
    for check in (
        addresses.check_domain, addresses.check_account_address, addresses.check_alias_address, addresses.check_target,
    ):  # fmt: skip
        try:
            good = check(text)
        except (AccountError, ProtocolError):
            continue
        assert clean(good) == good
        assert "/" not in good.rpartition("@")[2]


def config(data: bytes) -> None:
    try:
        parse_config(data.decode("utf-8", "replace"), Path("config.toml"))
    except ConfigError:
        return


def control_frame(data: bytes) -> None:
    for decode in (decode_request, decode_answer):
        try:
            frame = decode(data)
        except ControlError:
            continue
        assert isinstance(frame, msgspec.Struct)


def pop3_lines(data: bytes) -> None:
    """The same lines for every cut; each is read or refused."""
    found = []
    for step in (len(data) + 1, 1, 3):
        framer, lines = LineFramer(60), []
        for start in range(0, len(data), step):
            framer.feed(data[start : start + step])
            while (line := framer.next_line()) is not None:
                lines.append(line)
        found.append(lines)
    assert found[0] == found[1] == found[2]
    for line in found[0]:
        with contextlib.suppress(ProtocolError):
            if isinstance(line, bytes):
                command_line.numbers(command_line.parse(line).argument)


def pop3_message(data: bytes) -> None:
    """The same text for every cut, which ends once; TOP is a beginning of it."""
    whole = None
    for step in (len(data) + 1, 1, 3):
        text, top = MessageText(), MessageText(2)
        out = short = b""
        for start in range(0, len(data), step):
            out += text.piece(data[start : start + step])
            short += b"" if top.done else top.piece(data[start : start + step])
        out += text.end()
        assert whole in (None, out)
        whole = out
        assert out.startswith(short)
        assert (b"\r\n" + out).index(b"\r\n.\r\n") == len(out) - 3


def sasl(data: bytes) -> None:
    """The messages of one exchange, one a line, at every mechanism: claims or refusals; nobody guesses a proof."""
    keys = derive("sha256", b"pencil", b"salt", 1)
    scram = Scram("sha256", lambda *_: keys, ClearChannel(), plus=False, plus_is_offered=False, nonce=b"server")
    for mechanism in (Plain(), Login(), External(), OAuthBearer(), XOAuth2(), scram):
        for message in data.split(b"\n", 2):
            try:
                step = mechanism.step(message)
            except ProtocolError:
                break
            if not isinstance(step, Challenge):
                assert not (isinstance(step, ProofClaim) and step.right)
                break


def readable_text(data: bytes) -> None:
    scanner = MessageScanner()
    scanner.feed(data)
    table = PartTable.decode(scanner.finish().parts)

    def read(start: int, size: int) -> bytes:
        return data[start : start + size]

    for pieces in body_texts(read, table):
        fold("".join(pieces)).encode()
    assert len(preview(read, table)) <= LONGEST
    name, _, text = data.partition(b"\n")
    decoded = decoder(name.decode("latin-1")).decode(text, True)
    document = HtmlText()
    document.feed(decoded)
    document.feed(decoded, True).encode("utf-8", "surrogatepass")
    folded = fold(decoded)
    assert fold(folded) == folded


TARGETS: tuple[Target, ...] = (
    *ACCESS,
    *CONTENT,
    *DOORS,
    *FILTERS,
    *FORWARDED,
    *OUTBOUND,
    *OUTBOUND_TLS,
    *REPORTS,
    Target(
        "mail",
        "readable text",
        readable_text,
        (
            *MAIL,
            b"utf-7\n<p>+AGEA-</p><script>x</scrip",
            b"gb2312\n<!-- &#x41;&eacute -->",
            b"Content-Type: text/html; charset=iso-2022-jp\r\n\r\n\x1b$B&lt;<style ></style\x1b(B>",
        ),
    ),
    Target(
        "sasl",
        "mechanisms",
        sasl,
        (
            b"\0user\0pencil",
            b"n,a=us=2Cer,n=us=2Cer,r=abc\nc=biws,r=abcserver,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            b"p=tls-exporter,,n=u,r=a",
            b"n,a=user@example.com,\x01host=a\x01auth=Bearer abc==\x01\x01",
            b"user=a@b.example\x01auth=Bearer abc\x01\x01",
        ),
    ),
    Target(
        "imap",
        "URLs",
        imap_url,
        (
            b"/INBOX;UIDVALIDITY=7/;UID=20/;SECTION=1.2.MIME/;PARTIAL=3.4",
            b"imap://user;AUTH=*@host:143/a%2Fb/;UID=1/;SECTION=HEADER.FIELDS%20(From)",
            b";UID=9",
        ),
    ),
    Target(
        "mail",
        "transfer encodings",
        transfer_encodings,
        (b"aGVs\r\nbG8=\r\n", b"a=3Db=\r\n c \t\r\n=\n", b"=" * 9, b"\0a= \r\n"),
    ),
    Target("smtp", "SMTP commands", smtp_command, SMTP_FRAGMENTS),
    Target(
        "smtp", "dot stream", dot_stream, (b"a\r\n.\r\nb", b"..a\r\n..\r\n.\r\n", b"\r\n.\n", b"a\r.\r\n", b".\r\n")
    ),
    Target("smtp", "replies", reply, REPLIES),
    Target("mail", "MIME scanner", message, MAIL),
    Target("mail", "readers of mail", check_readers, MAIL),
    Target("mail", "part table", part_table, (b"", b"\0" * 40, bytes(range(64)), b"\xff" * 80)),
    Target(
        "mail",
        "words and dates",
        words,
        (*MAIL, b"=?utf-8?b?4pi6?= =?x?q?_?=", b"Mon, 5 Jan 2026 10:00:00 GMT", b"05-Jan-2026 10:00:00 +0000"),
    ),
    Target("mail", "reports", dsn, (*MAIL, "ünï@exämple; \u202e".encode())),
    Target(
        "mail",
        "Authentication-Results",
        authres,
        (b"mail.example.org; spf=pass", b'(c) "mail.example.org" 1; dkim=fail (x)', b"a;b=c d.e=f"),
    ),
    Target(
        "mail",
        "DMARC records",
        records,
        (b"v=DMARC1; p=reject; sp=none; pct=50; adkim=s", b"A <a@b.example>, c@d", b"From: a@\xc3\xa9.example"),
    ),
    Target(
        "imap",
        "IMAP framing",
        imap_framing,
        (b"a NOOP\r\n", b"a LOGIN {3+}\r\nabc {2}\r\nde\r\n", b"a X {999+}\r\n", b"a {5}\r\n", b"x" * 400, b"\n"),
    ),
    Target("imap", "IMAP commands", imap_command, ARGUMENTS),
    Target("imap", "mailbox names", mailbox_path, NAMES),
    Target(
        "imap",
        "file names",
        file_name,
        (b"1767607200.M1P2Q3.mx,S=5,U=7:2,FS", b"a:2,", b"1.2.3:1,x", b",U=99999999999999999999:2,abc"),
    ),
    Target(
        "pop3",
        "POP3 lines",
        pop3_lines,
        (b"USER a\r\nPASS  b \r\nRETR 1\n", b"TOP 1 2\r\n", b"x" * 90 + b"\r\nQUIT\r\n"),
    ),
    Target("pop3", "POP3 messages", pop3_message, (*MAIL, b"a: b\r\n\r\n.c\r\n..\nd\re")),
    Target(
        "local",
        "addresses",
        address,
        (b"alice@example.org", b"a.b+c@\xc3\xa9.example", b"@example.org", b'"a b"@x', b"a@[127.0.0.1]", b"xn--\x80@a"),
    ),
    Target("local", "configuration", config, CONFIG),
    Target("local", "control frames", control_frame, FRAMES),
)
