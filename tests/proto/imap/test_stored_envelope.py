from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.proto.address_list import parse_address_items
from mailbox_app.proto.envelope import render_envelope
from mailbox_app.proto.imap.stored_envelope import StoredAddress, read_date_and_subject, read_envelope

values = st.one_of(
    st.binary(max_size=40).map(lambda value: value.replace(b"\0", b"?")),
    st.sampled_from(
        [b"Ann <a@x>, b@y", b'"Q \\"q\\"" <a@x>', b"team: a@x, b@y;", b"=?utf-8?q?=C3=A9?= <e@x>", b"x" * 1_500]
    ),
)
FIELDS = (b"date", b"subject", b"from", b"to", b"cc", b"reply-to", b"sender", b"bcc", b"in-reply-to", b"message-id")


@given(st.dictionaries(st.sampled_from(FIELDS), values))
def test_what_was_rendered_is_read_back(fields: dict[bytes, bytes]) -> None:
    data = render_envelope(fields)
    envelope = read_envelope(data)
    assert (envelope.date, envelope.subject) == (fields.get(b"date"), fields.get(b"subject"))
    assert read_date_and_subject(data) == (envelope.date, envelope.subject)
    for name, first in ((b"from", envelope.first_from), (b"to", envelope.first_to), (b"cc", envelope.first_cc)):
        items = parse_address_items(fields.get(name, b""))
        if not items:
            assert first is None
        elif items[0].domain is not None:
            assert first == StoredAddress(items[0].name, items[0].localpart or b"", items[0].domain)
        else:
            assert first == StoredAddress(None, items[0].localpart, None)


@given(st.binary(max_size=80))
def test_other_bytes_give_nothing_and_raise_nothing(data: bytes) -> None:
    read_envelope(data)
    read_date_and_subject(b"(" + data)
