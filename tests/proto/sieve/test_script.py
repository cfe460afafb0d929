from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailbox_app.proto.sieve.actions import Keep
from mailbox_app.proto.sieve.faults import Problem, SieveError
from mailbox_app.proto.sieve.limits import Limits
from mailbox_app.proto.sieve.script import DEFAULT_LIMITS, Script, compile_script, run
from tests.support.sieve import World, context_of, outcome_of, problems_of, told

QUICK = replace(DEFAULT_LIMITS, steps=2_000)


def read(source: str | bytes) -> tuple[Script | None, Sequence[Problem]]:
    try:
        return compile_script(source), ()
    except SieveError as error:
        return None, error.problems


def parts(count: int) -> str:
    return "Content-Type: multipart/mixed; boundary=b\n\n" + "--b\n\nx\n" * count + "--b--\n"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ('require "foreverypart";' + "foreverypart { if true { keep; } }" * 400, parts(8)),
        ('require "variables"; set "a" "aaaaaaaa";' + 'set "a" "${a}${a}${a}${a}${a}${a}${a}${a}";' * 500, "A: b\n\n"),
        ('if header :matches "subject" "' + "*a" * 2_000 + '*b" { keep; }', "Subject: " + "a" * 90_000 + "\n\n"),
        ('if header :matches "subject" "*' + "?a" * 2_000 + '" { keep; }', "Subject: " + "a" * 90_000 + "\n\n"),
        ('require ["regex", "variables"]; if header :regex "subject" "(a|a?)+$" { keep; }', "Subject: " + "a" * 90_000 + "\n\n"),
        ('require ["regex", "body"];' + 'if body :raw :regex "(x|y)*z" { keep; }' * 9, "A: b\n\n" + "xy" * 90_000),
        ('if header :contains "subject" [' + ",".join(['"x"'] * 1_000) + "] { keep; }", "Subject: " + "a" * 90_000 + "\n\n"),
    ],
    ids=["many loops", "doubling", "stars", "question marks", "regex", "regex on a body", "many keys"],
)  # fmt: skip
def test_the_budget_covers_what_happens_inside_a_test(script: str, message: str) -> None:
    outcome = outcome_of(script, message, limits=replace(QUICK, steps=2_000))
    assert "more than 2000 steps" in outcome.error
    assert outcome.actions == (Keep(implicit=True),)


def test_time_is_bounded_too() -> None:
    limits = replace(DEFAULT_LIMITS, seconds=0.0)
    outcome = outcome_of("if true { keep; }" * 300, limits=limits)
    assert outcome.error.startswith("line 1: the script took longer than 0 seconds")
    assert [told(action) for action in outcome.actions] == ["implicit keep"]


@pytest.mark.parametrize(
    ("script", "limits", "problem"),
    [
        ("keep;" * 10, Limits(script_bytes=20), "the script is larger than 20 bytes"),
        ("if true {" * 33 + "}" * 33, Limits(), "blocks are nested deeper than 32"),
        ("if " + "not " * 33 + "true {}", Limits(), "tests are nested deeper than 32"),
        ('if header "a" ["b","c","d"] {}', Limits(list_items=2), "the list has more than 2 strings"),
        ('redirect "abcdefghijk";', Limits(string_bytes=10), "the string is longer than 10 characters"),
        ("keep;" * 11, Limits(words=10), "the script has more than 10 commands and tests"),
        ("if size :over 99999999999999999999 {}", Limits(), "the number 99999999999999999999 is too large"),
    ],
)
def test_a_script_over_a_limit_is_told_which(script: str, limits: Limits, problem: str) -> None:
    (found,) = problems_of(script, limits)
    assert found.endswith(problem)


@pytest.mark.parametrize(
    ("script", "limits", "error"),
    [
        ("".join(f'fileinto "{n}";' for n in range(4)), Limits(actions=3), "more than 3 actions"),
        ("".join(f'redirect "{n}@a.example";' for n in range(3)), Limits(redirects=2), "more than 2 redirects"),
        ("".join(f'set "v{n}" "x";' for n in range(3)), Limits(variables=2), "there are more than 2 variables"),
        (
            "".join(f'addheader "X" "{n}";' for n in range(3)),
            Limits(header_edits=2),
            "more than 2 changes of the header",
        ),
        (
            "".join(f'if duplicate :uniqueid "{n}" {{}}' for n in range(3)),
            Limits(duplicates=2),
            "more than 2 duplicate tests",
        ),
    ],
)
def test_a_run_over_a_limit_keeps_the_message(script: str, limits: Limits, error: str) -> None:
    requires = 'require ["fileinto", "variables", "editheader", "duplicate"];\n'
    outcome = outcome_of(requires + script, limits=limits)
    assert outcome.error == f"line 2: {error}"
    assert [told(action) for action in outcome.actions] == ["implicit keep"]
    assert outcome.edits is None
    assert outcome.remember == ()


def test_variables_are_cut_at_their_limit_between_characters() -> None:
    script = 'require ["variables", "fileinto"]; set "a" "ééééé"; set :length "n" "${a}"; fileinto "${n}";'
    (action,) = outcome_of(script, limits=replace(DEFAULT_LIMITS, variable_bytes=7)).actions
    assert told(action) == "fileinto 3"


def test_the_trace_tells_what_was_compared_with_what() -> None:
    script = """require ["fileinto", "variables"];
if header :matches "subject" "hel*" {
  set "x" "${1}!";
  fileinto "a/${x}";
} else { discard; }
"""
    assert outcome_of(script).steps == (
        '2: header :matches "hel*" in "hello" = true',
        '3: set x = "lo!"',
        '4: fileinto "a/lo!"',
    )


def test_the_trace_is_bounded() -> None:
    limits = replace(DEFAULT_LIMITS, trace_steps=3, trace_characters=5)
    steps = outcome_of('if header "subject" "0123456789" { }' * 9, limits=limits).steps
    assert steps == ('1: header "01234..." in "hello" = false',) * 3 + ("... more steps are not shown",)


def test_an_error_in_an_included_script_names_it() -> None:
    world = World(scripts={("personal", "sub"): 'require "ihave";\nerror "no";'})
    outcome = outcome_of('require "include"; include "sub";', world=world)
    assert (outcome.error, outcome.error_line) == ("sub, line 2: no", 2)
    assert outcome.steps[-1] == "sub:2: error: no"


def test_an_included_script_that_is_not_valid_is_told() -> None:
    world = World(scripts={("personal", "sub"): "nonsense;"})
    outcome = outcome_of('require "include"; include "sub";', world=world)
    assert outcome.error == (
        'line 1: the included script "sub" is not valid: line 1, column 1: `nonsense` is not a command'
    )


def test_duplicates_are_remembered_by_the_caller_and_once_in_a_run() -> None:
    script = """require ["duplicate", "fileinto"];
if duplicate :seconds 60 { fileinto "twice"; }
if duplicate :seconds 60 { fileinto "twice"; }
if duplicate :handle "other" :header "X-None" { fileinto "none"; }
"""
    first = outcome_of(script)
    assert [told(action) for action in first.actions] == ["implicit keep"]
    ((identity, seconds),) = [(each.identity, each.seconds) for each in first.remember]
    assert seconds == 60
    again = outcome_of(script, world=World(remembered=[identity]))
    assert [told(action) for action in again.actions] == ["fileinto twice"]
    assert again.remember == ()
    last = outcome_of(script.replace(":seconds", ":last :seconds"), world=World(remembered=[identity]))
    assert [each.identity for each in last.remember] == [identity]


def test_one_script_runs_for_many_messages() -> None:
    script = compile_script('require ["variables", "fileinto"]; if header :matches "subject" "*" { fileinto "${1}"; }')
    names = [told(run(script, context_of(f"Subject: {n}\n\n")).actions[0]) for n in range(3)]
    assert names == ["fileinto 0", "fileinto 1", "fileinto 2"]


def test_several_problems_are_told_at_once_and_in_words() -> None:
    assert problems_of('fileinto "x";\nif true {\n  vacation "y";\n  keep "z";\n}\nunknown;') == [
        'line 1, column 1: `fileinto` needs require "fileinto"',
        'line 3, column 3: `vacation` needs require "vacation"',
        "line 4, column 8: `keep` has too many arguments",
        "line 6, column 1: `unknown` is not a command",
    ]
    with pytest.raises(SieveError) as caught:
        compile_script("keep;\n x;")
    assert (caught.value.line, caught.value.column, caught.value.message) == (2, 2, "`x` is not a command")


def test_a_script_that_is_not_utf8_is_refused_at_its_place() -> None:
    assert problems_of(b"keep;\n# \xe9\n") == ["line 2, column 3: the script is not UTF-8 text"]


def test_bytes_of_a_message_that_are_no_text_do_no_harm() -> None:
    script = """require ["variables", "fileinto", "body"];
if allof(body :raw :contains "x", header :matches "subject" "*") { fileinto "${1}"; }"""
    (action,) = outcome_of(script, b"Subject: a\xffb\r\n\r\n\xfe\xffx").actions
    assert told(action) == "fileinto a\xffb"


def test_charsets_that_can_write_half_a_character_do_no_harm() -> None:
    script = """require ["variables", "fileinto", "editheader", "duplicate"];
if header :matches "subject" "*" { set "a" "${1}"; addheader "X-A" "${a}"; fileinto "${a}"; }
if duplicate :uniqueid "${a}" { }"""
    outcome = outcome_of(script, b"Subject: =?utf-7?q?a+2AA-b?=\r\n\r\n")
    assert outcome.error == ""
    assert [told(action) for action in outcome.actions] == ["fileinto a\ufffdb"]


def test_capabilities_can_be_switched_off() -> None:
    limits = replace(DEFAULT_LIMITS, disabled=frozenset({"editheader"}))
    assert problems_of('require "editheader";', limits) == [
        'line 1, column 9: the extension "editheader" is not known here'
    ]


# Properties: any bytes give a script or a SieveError; any script runs within its budget.

_WORDS = st.sampled_from(
    [
        "if", "elsif", "else", "require", "keep", "stop", "discard", "fileinto", "redirect", "not", "anyof", "allof", "true",
        "header", "address", "envelope", "size", "exists", "body", "set", "string", "foreverypart", "break", "include",
        "vacation", "reject", "addheader", "deleteheader", "date", "currentdate", "hasflag", "setflag", "duplicate", "ihave",
        "(", ")", "[", "]", "{", "}", ",", ";", ":is", ":matches", ":regex", ":count", ":index", ":last", ":comparator", ":mime",
        '"a"', '"*?"', '"${1}"', '"fileinto"', '"variables"', '"subject"', '"gt"', '"i;octet"', "1K", "99", "text:\nx\n.\n",
        "# c\n", "/*", "*/", '"', "\\", "\x00", "é",
    ]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.lists(_WORDS, max_size=40).map(lambda words: " ".join(words).encode())))
def test_any_bytes_are_a_script_or_a_sieve_error(source: bytes) -> None:
    script, problems = read(source)
    if script is None:
        assert problems
        assert all(problem.line >= 1 and problem.column >= 1 for problem in problems)
    else:
        assert run(script, context_of(), QUICK).actions


_REQUIRE = (
    'require ["fileinto", "variables", "body", "regex", "foreverypart", "mime", "extracttext", "editheader", "imap4flags",'
    ' "relational", "date", "copy", "envelope", "duplicate", "vacation", "enotify", "reject", "index", "subaddress"];\n'
)
_STRINGS = st.sampled_from(
    ['"a"', '"*"', '"?*"', '"${1}"', '"${a}${a}${a}"', '"subject"', '["to", "from"]', '"x@y.example"', '""', '"(a|b)*"']
)
_MATCHES = st.sampled_from([":is", ":contains", ":matches", ":regex", ':count "ge"', ':value "lt"', ""])
_LEAVES = st.one_of(
    st.sampled_from(["true", "false", "size :over 1K", 'exists "to"', "duplicate"]),
    st.builds("header {} {} {}".format, _MATCHES, _STRINGS, _STRINGS),
    st.builds("header :mime :anychild {} {} {}".format, _MATCHES, _STRINGS, _STRINGS),
    st.builds("header :last :index 1 {} {} {}".format, _MATCHES, _STRINGS, _STRINGS),
    st.builds("address :detail {} {} {}".format, _MATCHES, _STRINGS, _STRINGS),
    st.builds("string {} {} {}".format, _MATCHES, _STRINGS, _STRINGS),
    st.builds("body :raw {} {}".format, _MATCHES, _STRINGS),
    st.builds("hasflag {} {}".format, _MATCHES, _STRINGS),
    st.builds('date {} "date" "hour" {}'.format, _MATCHES, _STRINGS),
)
_TESTS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(inner.map("not {}".format), st.builds("anyof({}, {})".format, inner, inner)),
    max_leaves=4,
)
_ACTIONS = st.sampled_from(
    [
        "keep;", "stop;", "discard;", 'fileinto "${1}";', 'fileinto :copy :flags "${a}" "b";', 'redirect "a@b.example";',
        'set "a" "${a}${a}x${1}";', 'set :length "a" "${a}";', 'addflag "${a} b";', 'addheader "X-${1}" "${a}";',
        'deleteheader "to";',
        'vacation "x";', 'notify "mailto:a@b.example";', 'reject "${a}";', 'foreverypart { extracttext "a"; }',
    ]
)  # fmt: skip
_SCRIPTS = st.recursive(
    _ACTIONS,
    lambda inner: st.one_of(
        st.builds("{}\n{}".format, inner, inner),
        st.builds("if {} {{ {} }} else {{ {} }}".format, _TESTS, inner, inner),
        st.builds("foreverypart {{ {} break; }}".format, inner),
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(_SCRIPTS, st.one_of(st.binary(max_size=200), st.just(parts(3).encode())))
def test_any_valid_script_runs_within_its_budget_and_decides_something(body: str, message: bytes) -> None:
    script, problems = read(_REQUIRE + body)
    if script is None:
        assert all("regular expression" in problem.message for problem in problems)
        return
    outcome = run(script, context_of(message), QUICK)
    assert outcome.actions
    assert len(outcome.steps) <= QUICK.trace_steps + 1
    if outcome.error:
        assert outcome.actions == (Keep(implicit=True),)
