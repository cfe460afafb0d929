"""SASL, the server's side, without any input or output: one implementation for IMAP, SMTP, POP3 and ManageSieve.

A mechanism is an object with `prompt` (what to send when the client gave no initial response) and `step(response)`, which
gives a `Challenge` to send or an `Outcome`: what the client claims and how it may be checked. RFC 4422.

* `mechanism.py`: challenges, outcomes, what a mechanism is, what the channel below tells (`Channel`).
* `plain.py`: PLAIN and LOGIN; `scram.py`: SCRAM with and without channel binding, its keys in `scram_keys.py`;
  `external.py`: EXTERNAL; `bearer.py`: OAUTHBEARER and XOAUTH2.
* `negotiation.py`: the table of mechanisms in order of preference.

A mechanism knows no account. `accounts/sasl.py` turns outcomes into logins, and that is what a session uses:

    offered = sasl.mechanisms(channel)                    # names to advertise; empty when TLS must come first
    exchange = sasl.begin(name, channel, protocol="imap", remote_ip=...)   # None: not offered
    step = await exchange.start(initial)                  # None when the client gave no initial response
    while isinstance(step, Challenge):                    # send base64 of step.data, read a line, decode it
        step = await exchange.step(response)
    # LoggedIn(account) or Refused(why); `ProtocolError` sasl.malformed: the client broke the grammar; any other
    # `MailboxError` is temporary. The session decodes base64, bounds lines, handles "*", and delays refusals.

`channel` is `net/channel.py`: `TlsChannel.of(transport)`. All input is bounded by the session's line limit; nothing here keeps
more than one message.
"""
