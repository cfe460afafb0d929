#!/usr/bin/env python3
"""Times POP3 on a copy of a big mailbox: login with its lists, RETR of all one by one, RETR of all pipelined, DELE of all.

usage: pop3_bench.py HOST POP3-PORT IMAP-PORT USER PASS [--mailbox bench] [--runs 3] [--pids 1,2] [--quiet 10]

Fill the mailbox first with mailbox_fill.py; it is copied to INBOX, which is emptied at the end. BENCH_TLS as in imap_raw.py.
Prints JSON: per operation the median, minimum and maximum seconds over the runs.
"""
import argparse
import json
import os
import socket
import ssl
import statistics
import sys

import memory
from imap_raw import Imap

AHEAD = 50
"""Pipelined commands under way."""


class Pop3:
    """A small raw client: no parsing beyond finding the end of an answer."""

    def __init__(self, host, port, timeout=600):
        self.sock = socket.create_connection((host, port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if os.environ.get("BENCH_TLS"):
            self.sock = ssl._create_unverified_context().wrap_socket(self.sock, server_hostname=host)
        self.buffer = bytearray(1 << 20)
        self.view = memoryview(self.buffer)
        self.rest = b""
        self.line()

    def line(self):
        while b"\r\n" not in self.rest:
            self.rest += self._receive()
        line, _, self.rest = self.rest.partition(b"\r\n")
        if not line.startswith(b"+OK"):
            raise RuntimeError(line[:200])
        return line

    def _receive(self):
        got = self.sock.recv_into(self.buffer)
        if not got:
            raise ConnectionError("closed")
        return bytes(self.view[:got])

    def command(self, text):
        self.sock.sendall(text + b"\r\n")
        return self.line()

    def text(self):
        """The rest of a multi-line answer; its size."""
        size, tail = 0, b"\r\n"
        piece, self.rest = self.rest, b""
        while True:
            joined = tail + piece
            end = joined.find(b"\r\n.\r\n")
            if end >= 0:
                self.rest = joined[end + 5:]
                return size + end + 5 - len(tail)
            size += len(piece)
            tail = joined[-4:]
            piece = self._receive()

    def multi(self, text):
        self.command(text)
        return self.text()

    def close(self):
        self.command(b"QUIT")
        self.sock.close()


def summary(spans, messages=None, size=None):
    seconds = [each["s"] for each in spans]
    result = {"median_s": round(statistics.median(seconds), 4), "min_s": min(seconds), "max_s": max(seconds), "runs": len(seconds)}
    if "server_cpu_s" in spans[0]:
        result["server_cpu_s"] = round(statistics.median(e["server_cpu_s"] for e in spans), 3)
    if messages:
        result["per_s"] = round(messages / statistics.median(seconds), 1)
    if size:
        result["mib_per_s"] = round(size / 1048576 / statistics.median(seconds), 1)
    return result


class Bench:
    def __init__(self, options):
        self.options = options
        self.pids = [int(each) for each in options.pids.split(",")] if options.pids else []
        self.messages = self.size = 0

    def connect(self):
        client = Pop3(self.options.host, self.options.port)
        client.command(b"USER " + self.options.user.encode())
        client.command(b"PASS " + self.options.password.encode())
        return client

    def fill(self):
        client = Imap(self.options.host, self.options.imap_port)
        client.login(self.options.user, self.options.password)
        client.empty("INBOX")
        self.messages = client.select(self.options.mailbox)
        client.command("UID COPY 1:* INBOX")
        client.close()

    def timed(self, work):
        if self.options.quiet:
            memory.wait_quiet(self.options.quiet)
        span = memory.Span(self.pids)
        work()
        return span.end()

    def lists(self):
        client = self.connect()
        client.command(b"STAT")
        client.multi(b"LIST")
        client.multi(b"UIDL")
        client.close()

    def retrieve(self):
        client = self.connect()
        self.size = sum(client.multi(b"RETR %d" % number) for number in range(1, self.messages + 1))
        client.close()

    def retrieve_pipelined(self):
        client = self.connect()
        asked = 0
        for number in range(1, self.messages + 1):
            if asked - number < AHEAD // 2 and asked < self.messages:
                more = range(asked + 1, min(asked + AHEAD, self.messages) + 1)
                client.sock.sendall(b"".join(b"RETR %d\r\n" % each for each in more))
                asked = more[-1]
            client.line()
            client.text()
        client.close()

    def delete(self):
        client = self.connect()
        for number in range(1, self.messages + 1):
            client.command(b"DELE %d" % number)
        client.close()

    def run(self):
        self.fill()
        report = {"messages": self.messages}
        for name, work, runs in (
            ("pop3_lists", self.lists, self.options.runs),
            ("pop3_retr", self.retrieve, self.options.runs),
            ("pop3_retr_pipelined", self.retrieve_pipelined, self.options.runs),
            ("pop3_delete", self.delete, 1),
        ):
            spans = [self.timed(work) for _ in range(runs)]
            report[name] = summary(spans, self.messages, self.size if "retr" in name else None)
            print("%s %s" % (name, json.dumps(report[name])), file=sys.stderr, flush=True)
        return report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("imap_port", type=int)
    parser.add_argument("user")
    parser.add_argument("password")
    parser.add_argument("--mailbox", default="bench")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--pids", default="")
    parser.add_argument("--quiet", type=float, default=0, help="wait up to so many seconds for an idle machine")
    print(json.dumps(Bench(parser.parse_args()).run(), indent=1))


if __name__ == "__main__":
    main()
