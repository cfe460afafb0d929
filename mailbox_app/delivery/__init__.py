"""Delivery: from an accepted message to mailboxes and the queue.

* `mail`: the values: a message with its envelope and its accepted recipients, the outcome.
* `recipients`: what a RCPT address comes to: accounts, outside addresses, or a refusal; quota.
* `inbound`: into mailboxes (one file for all recipients, group commit) and, for what must wait or leave, into the queue.
* `forwarding`: the copies for outside members of aliases, for lists and for redirects; `posting`: who may post to a list.
* `submission`: the rules for our own users' mail (who may send as whom, missing fields, Bcc, DKIM), then `inbound`.
* `filtering`: which filter scripts run on an account's copy; `filter_actions`: what their actions come to, as a `filter_plan`;
  `carrying_out`: does it. `vacation`, `notifications`, `generated`: messages written in an account's name.
* `local`: the queue's transport for local recipients: bounces and what could not be stored at once.
* `header_block`: the header of a message in memory or in a file, and the rest behind it.

The rule over all: a return without an error means durable. One content has one answer for all its recipients, so a recipient that
cannot be served now waits in the queue for the local transport while the others have their copy.
"""
