"""Encryption on the way out: what a domain asks for (DANE, MTA-STS, exceptions), what a host showed, what is remembered of both."""
