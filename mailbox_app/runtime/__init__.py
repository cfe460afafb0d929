"""The running daemon: one supervisor, N fronts, one core.

`serve` is the entry: it reads the configuration, takes the data folder's lock, binds the ports, drops root and starts
the processes. `supervisor` forks and restarts them and parses nothing; `front` runs the sessions of one process;
`core` runs the queue, the control socket and the jobs; `wiring` is the only place that builds objects and where a newcomer sees how
everything hangs together. `board` is the few bytes of memory all processes share.
"""
