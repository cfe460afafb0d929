"""The terminal console: a thin client of the control socket; never imports the server."""
