from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.outbound.advice import advice_for


@pytest.mark.parametrize(
    ("code", "enhanced", "text", "expected"),
    [
        (550, "5.7.1", ("Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet"
         " service provider since part of their network is on our block list (S3140)."),
         "provider.microsoft_block_list"),
        (550, "5.7.606", "Access denied, banned sending IP [192.0.2.1]", "provider.microsoft_banned_address"),
        (451, "4.7.650", ("The mail server [192.0.2.1] has been temporarily rate limited due to IP"
         " reputation."),
         "provider.microsoft_rate"),
        (550, "5.7.1", ("[2001:db8::1] Our system has detected that this message does not meet IPv6 sending"
         " guidelines regarding PTR records and authentication."),
         "dns.ipv6_reverse_name"),
        (550, "5.7.25", "The IP address sending this message does not have a PTR record", "dns.reverse_name"),
        (450, "4.7.1", "Client host rejected: cannot find your reverse hostname, [192.0.2.1]", "dns.reverse_name"),
        (550, "5.7.26", ("Unauthenticated email from example.org is not accepted due to domain's DMARC"
         " policy."),
         "authentication.unauthenticated"),
        (421, "4.7.0", ("[TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user"
         " complaints"),
         "provider.yahoo_deferred"),
        (554, "5.7.1", "Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", "list.spamhaus"),
        (554, "5.0.0", ("IP=192.0.2.1 - A problem occurred. (Ask your postmaster for help or to contact"
         " tosa@rx.t-online.de to clarify.)"),
         "provider.t_online"),
        (550, "5.7.1", "192.0.2.1 is listed at bl.example", "list.other"),
        (451, "4.7.1", "Greylisted, please come back later", "wait.greylisted"),
        (554, "5.7.1", "<bob@there.example>: Relay access denied", "route.relaying_denied"),
        (550, "5.7.23", "no", "authentication.spf"),
        (550, "5.7.1", "rejected because of the DMARC policy", "authentication.dmarc"),
        (452, "4.2.2", "over quota", "recipient.full"),
        (550, "5.1.1", "no such user", "recipient.unknown"),
    ],
)  # fmt: skip
def test_a_known_refusal_gets_its_advice(code: int, enhanced: str, text: str, expected: str) -> None:
    found = advice_for(code, enhanced, text)
    assert found is not None
    assert found.code == expected
    assert found.sentence.endswith(".")


@pytest.mark.parametrize(
    ("code", "enhanced", "text"),
    [(250, "2.0.0", "listed at the block list"), (451, "4.3.0", "try later"), (554, "5.7.30", "no REQUIRETLS"), (0, "", "")],
)  # fmt: skip
def test_what_is_not_known_or_no_refusal_gets_none(code: int, enhanced: str, text: str) -> None:
    assert advice_for(code, enhanced, text) is None


@given(st.integers(0, 999), st.text(max_size=20), st.text(max_size=4000))
def test_any_answer_is_looked_at_without_harm(code: int, enhanced: str, text: str) -> None:
    found = advice_for(code, enhanced, text)
    assert found is None or found.sentence
