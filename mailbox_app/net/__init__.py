"""Everything between the server's parts and the network: listeners, connections, TLS contexts, names, limits.

`listeners` binds addresses (one socket per front with SO_REUSEPORT), `tls` holds certificates and reloads them, `resolver`
asks the DNS, `unix_socket` reaches sockets whose path is longer than the kernel's 108 bytes, `limits` counts what one
client may have open. `connection` moves one peer's bytes with back-pressure and deadlines; `service` is what every
service with logins is made of. Every wait on the network has a deadline.
"""
