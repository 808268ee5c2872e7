"""Mutations that know what a frame is: most of what they make gets past the lengths and into the decoders.

The input is a few bytes for the target itself (`HEADS`) and then frames.  A mutation changes the list of
frames, or one body, and writes the lengths anew; one in eight leaves a wrong length where it is.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from typing import Final

from tests.corpus.replay import recordings
from tests.support.vectors import VECTORS

HEADS: Final = {"client": 2, "server": 2, "messages": 1, "engine": 3, "rows": 5}
"""How many bytes go before the frames, for the targets that read frames."""
SIDES: Final = {"client": "B", "server": "F", "messages": "FB", "engine": "B", "rows": "B"}
NUMBERS: Final = (
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"\0\0\0\0",
    b"\0\0\0\4",
    b"\xff\xff",
    b"\0\0",
)

Mutate = Callable[[bytes, int], bytes]
Frame = tuple[int, bytes]


@cache
def dictionary(sides: str) -> list[bytes]:
    """Real messages: those of the vectors, and of the recorded sessions as far as they are short."""
    found = [vector.data for vector in VECTORS if vector.direction in sides]
    for recording in recordings():
        found += [data for side, data in recording.lines if side in sides and 0 < len(data) < 200]
    return sorted(set(found))


def split(data: bytes) -> tuple[list[Frame], bytes]:
    """The frames of a stream, and what is left behind them."""
    found: list[Frame] = []
    position = 0
    while position + 5 <= len(data):
        end = position + 1 + int.from_bytes(data[position + 1 : position + 5], "big")
        if not position + 5 <= end <= len(data):
            break
        found.append((data[position], data[position + 5 : end]))
        position = end
    return found, data[position:]


def join(parts: list[Frame]) -> bytes:
    """The stream of these frames."""
    return b"".join(bytes((tag,)) + (len(body) + 4).to_bytes(4, "big") + body for tag, body in parts)


def plain_mutation(data: bytes, limit: int) -> bytes:
    """One to four small injuries, for where there is no atheris; the data are the seed."""
    rng = random.Random(data)
    mutable = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(mutable)) if mutable else 0
        injury = rng.randrange(6)
        if injury == 0 and mutable:
            mutable[place] = rng.randrange(256)
        elif injury == 1 and mutable:
            mutable[place] ^= 1 << rng.randrange(8)
        elif injury == 2:
            del mutable[place : place + rng.randint(1, 8)]
        elif injury == 3:
            mutable[place:place] = rng.randbytes(rng.randint(1, 8))
        elif injury == 4:
            mutable[place : place + 4] = rng.choice(NUMBERS)
        else:
            mutable += mutable[place : place + 20]
    return bytes(mutable[:limit])


def mutate(target: str, data: bytes, limit: int, seed: int, plain: Mutate) -> bytes:
    """One mutation.  `plain` is one that knows nothing."""
    rng = random.Random(seed)
    head = HEADS.get(target, 0)
    if not head or rng.random() < 0.125 or len(data) <= head:
        return plain(data, limit)
    first = data[:head]
    if rng.random() < 0.1:
        first = plain(first, head)
        first += bytes(head - len(first))
    parts, rest = split(data[head:])
    choice = rng.randrange(7)
    words = dictionary(SIDES[target])
    if choice == 0 or not parts:
        new, _ = split(rng.choice(words))
        place = rng.randint(0, len(parts))
        parts[place:place] = new
    elif choice == 1:
        del parts[rng.randrange(len(parts))]
    elif choice == 2:
        one, other = rng.randrange(len(parts)), rng.randrange(len(parts))
        parts[one], parts[other] = parts[other], parts[one]
    elif choice == 3:
        place = rng.randrange(len(parts))
        parts[place:place] = parts[place : place + rng.randint(1, 3)]
    else:
        place = rng.randrange(len(parts))
        tag, body = parts[place]
        if choice == 4 and body:
            number = rng.choice(NUMBERS)
            at = rng.randrange(len(body))
            body = body[:at] + number + body[at + len(number) :]
        else:
            body = plain(body or b"\0", max(limit - len(data), 1) + len(body))
        parts[place] = tag, body
    return (first + join(parts) + rest)[:limit]
