"""SMTP in: one session engine for `smtp` (25), `submission` (587) and `submissions` (465).

How a message walks: `connection` reads lines and content and sends replies, `session` turns a line into a call and an error into
a reply, `verbs` names the handler of each command, `hello`, `login`, `transaction` and `content` hold the handlers, `body` keeps
the content in bounded memory, `receive` finishes a message: trace fields, hop limit, sender checks, then `delivery.inbound` or
`delivery.submission`. `server` holds the dependencies and counts connections, `limits` all bounds.

What it promises:

* 250 after the content means every accepted recipient is in a mailbox or in the queue, durably.
* Nobody relays on 25; AUTH is not even offered there. On 587 and 465 nothing is accepted before AUTH, and AUTH only under TLS.
* A line or a content with a bare CR, a bare LF or a NUL is refused whole; only CRLF.CRLF ends content.
* State is forgotten at STARTTLS; input that came in clear behind STARTTLS ends the session.
* Each wait has a deadline, each count a limit, and a large message costs no memory.
* Local trouble is a 4xx; no exception's text ever reaches a stranger.
"""
