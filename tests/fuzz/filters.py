"""Filter scripts and what they run on."""

from __future__ import annotations

from dataclasses import replace

from mailbox_app.proto.sieve.actions import FileInto, Keep
from mailbox_app.proto.sieve.faults import SieveError
from mailbox_app.proto.sieve.header_edits import HeaderEdits
from mailbox_app.proto.sieve.mailto import BadMailto, parse_mailto
from mailbox_app.proto.sieve.regex import BadPattern, Regex
from mailbox_app.proto.sieve.script import DEFAULT_LIMITS, compile_script, run
from tests.fuzz.corpus import MAIL
from tests.fuzz.target import Target
from tests.support.sieve import context_of

_LIMITS = replace(DEFAULT_LIMITS, steps=20_000)
_BUSY = compile_script("""require ["variables", "body", "mime", "foreverypart", "extracttext", "editheader",
  "regex", "date", "index", "relational", "duplicate", "subaddress"];
foreverypart {
  if header :mime :param "charset" :regex "content-type" "(u|us|iso)(-[a-z0-9]*)*" { extracttext :upper "t"; }
  if address :mime :anychild :detail :matches ["from", "to", "cc"] "*b?*" { set "a" "${1}${t}"; }
}
if body :text :matches "*a*b*" { addheader :last "X-A" "${a}${t}"; }
if body :content ["multipart", "message"] :contains "x" { deleteheader :index 1 "from"; }
if date :index 1 :value "gt" "date" "year" "2000" { deleteheader :matches "subject" "*?*"; }
if header :count "ge" ["to", "received"] "2" { keep; }
if duplicate { discard; }
""")
_REWRITING = compile_script("""require ["mime", "foreverypart", "replace", "enclose", "fileinto", "copy", "editheader"];
foreverypart {
  if header :mime :subtype "content-type" ["html", "octet-stream"] { replace "out"; }
  elsif header :mime :type "content-type" "message" { replace :mime "content-type: text/html\r\n\r\nx"; }
}
deleteheader "subject"; addheader "X-A" "b"; fileinto :copy "a";
enclose :headers ["to", "received"] "around"; fileinto :copy "b";
foreverypart { if header :mime :subtype "content-type" "plain" { replace "y"; fileinto :copy "c"; } }
replace "all";
""")


def script(data: bytes) -> None:
    """A script or its own error; a run decides something and stays within its limits."""
    try:
        compiled = compile_script(data)
    except SieveError:
        return
    outcome = run(compiled, context_of(MAIL[0]), _LIMITS)
    assert outcome.actions
    assert not outcome.error or outcome.actions == (Keep(implicit=True),)


def message(data: bytes) -> None:
    """A script that looks everywhere meets any message."""
    outcome = run(_BUSY, context_of(data), _LIMITS)
    assert outcome.actions
    (outcome.edits or HeaderEdits()).apply(data)


def rewriting(data: bytes) -> None:
    """What is made of any message reads the same whole and in pieces, and has a header of its own."""
    outcome = run(_REWRITING, context_of(data), _LIMITS)
    assert outcome.actions
    for action in outcome.actions:
        content = action.content if isinstance(action, Keep | FileInto) else None
        if content is None:
            continue
        whole = content.read(0, 1 << 30)
        assert len(whole) == content.size_bytes
        step = max(1, len(whole) // 20)
        assert b"".join(content.read(at, step) for at in range(0, len(whole), step)) == whole
        if action.mailbox != "a" if isinstance(action, FileInto) else True:
            assert whole[: content.header_bytes].endswith(b"\r\n\r\n")


def patterns(data: bytes) -> None:
    """The first line is a regular expression for the rest, or a mailto."""
    pattern, _, text = data.decode("latin-1").partition("\n")
    try:
        Regex(pattern[:200], ignore_case=True).search(text[:500], lambda steps: None)
    except BadPattern:
        assert pattern
    try:
        found = parse_mailto("mailto:" + pattern)
        assert 1 <= len(found.recipients) <= 5
        assert all("@" in address and address.isprintable() for address in found.recipients)
        assert all(text.isprintable() for field in found.fields for text in field)
    except BadMailto:
        assert pattern is not None


TARGETS = (
    Target(
        "sieve",
        "filter scripts",
        script,
        (
            b'require ["fileinto", "variables", "regex", "foreverypart", "relational", "vacation", "ihave", "body", "date"];\n',
            b'if anyof(not header :contains ["to","cc"] "a*b", address :regex "from" "(a+)+b") { fileinto "x${1}"; }\n',
            b'elsif size :over 10K { redirect "a@b.example"; stop; } else { keep; discard; }\n',
            b'set :upper "a" "${a}${0}"; foreverypart { break; }\n',
            b"# comment\n/* another */ if true { }\n",
            b'vacation :days 3 text:\nx\n..y\n.\n;\nif header :matches "subject" "*?\\\\*" { set "b" "${1}"; }\n',
            b'if ihave "nothing" { nothing :tag 5 ["a"]; } if date :value "ge" "date" "hour" "09" { keep; }\n',
            b"if not not not allof(true, false) { }\n",
        ),
    ),
    Target("sieve", "filtered messages", message, MAIL),
    Target("sieve", "rewritten messages", rewriting, MAIL),
    Target(
        "sieve",
        "expressions",
        patterns,
        (
            b"^(a|b)*c{2,5}[[:alpha:]_-]+$\nabcccx",
            b"(x?){20}[^]a]\\.\nxxx.",
            b"a@b.example,c@d.example?subject=%41&cc=e@f.example",
            b"((((",
        ),
    ),
)
