"""The control socket: how the command line and the console talk to the running server. `docs/control-protocol.md` is its page.

* `wire.py` frames (JSON lines), `client.py` the synchronous client, `server.py` the listener (who may come in), `session.py` one
  connection (requests, answers, subscriptions), `topics.py` what can be subscribed, `views.py` the numbers behind it.
* `schema.py` says what a method is; `methods/` holds them, one file per subject, listed in its `__init__.py`. To add one: a
  function and a row in its subject's `METHODS`; the printed schema and the contract test pick it up.
* `context.py` is everything methods may use; `runtime/wiring.py` builds it.

Every method that changes something writes exactly one audit entry, also when it fails. A change is durable when its answer is
sent. Text from outside is cleaned here, so that clients may print what they get. The client imports neither asyncio nor any
part of the server.
"""
