"""Mutates the seed corpus of each target and reads what comes out: `scripts/fuzz [SECONDS] [GROUP]`.

Plain random mutation from a fixed seed, so a fault can be met again; the input that caused one is printed. An input
that takes longer than `SLOW_SECONDS` of CPU time is a fault too: its size is bounded, so its time must be.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence

from tests.fuzz.targets import TARGETS, Target
from tests.support.rough import noise

MAX_BYTES = 20_000
SLOW_SECONDS = 1.0


class Fault(Exception):
    """A target did what it must never do."""


def fuzz(target: Target, seconds: float, seed: int = 1) -> int:
    """Read mutated inputs for a while; how many."""
    chance = random.Random(f"{target.name} {seed}")
    end, count = time.monotonic() + seconds, 0
    for data in target.corpus:
        read(target, data)
    while time.monotonic() < end:
        for _ in range(10):
            read(target, mutated(chance, target.corpus))
        count += 10
    return count


def mutated(chance: random.Random, corpus: Sequence[bytes]) -> bytes:
    """A few seeds put together, cut, repeated, with noise."""
    pieces = [chance.choice(corpus) for _ in range(chance.choice([1, 1, 2, 3, 8]))]
    if chance.random() < 0.3:
        at = chance.randrange(len(pieces))
        start = chance.randrange(len(pieces[at]) + 1)
        piece = pieces[at][start : start + chance.randint(1, 30)]
        pieces.insert(at, piece * chance.choice([2, 10, 100, 1_000]))
    return noise(chance, b"".join(pieces)[:MAX_BYTES])


def read(target: Target, data: bytes) -> None:
    """One input; `Fault` with the input when it does harm."""
    began = time.thread_time()
    try:
        target.read(data)
    except Exception as error:
        raise Fault(f"{target.name}: {type(error).__name__}: {error}: {data!r}") from error
    if (taken := time.thread_time() - began) > SLOW_SECONDS:
        raise Fault(f"{target.name}: {taken:.1f} s for {len(data)} bytes: {data!r}")


def main(arguments: Sequence[str]) -> int:
    """Share the seconds out between the targets of a group, or of all."""
    seconds = float(arguments[0]) if arguments else 60.0
    group = arguments[1] if len(arguments) > 1 else ""
    seed = int(arguments[2]) if len(arguments) > 2 else 1
    chosen = [target for target in TARGETS if group in {"", target.group}]
    if not chosen:
        sys.stderr.write(f"there is no group {group}; one of {', '.join(sorted({each.group for each in TARGETS}))}\n")
        return 2
    faults = 0
    for target in chosen:
        try:
            count = fuzz(target, seconds / len(chosen), seed)
        except Fault as fault:
            faults += 1
            sys.stdout.write(f"FAULT {fault}\n")
        else:
            sys.stdout.write(f"{target.group:6} {target.name:24} {count:8} inputs\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
