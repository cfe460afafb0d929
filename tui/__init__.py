"""The terminal console: a thin client of the control socket; never imports the server.

`main` starts and ends it, `app` is the frame and the key dispatch, `client` and `feeds` bring the data, `models` types it,
`keys` is the table of all actions, `screens/` has one file per screen (registry in its `__init__`), `widgets/` what they are
drawn with.
All state lives in the daemon: closing the console loses nothing.
"""
