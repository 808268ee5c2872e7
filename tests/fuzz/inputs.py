"""The inputs that are kept: one file per target, one input a line, as text that diffs well.

They are the smallest set that reaches what is known to be reachable, and every input that once found a
defect.  Any of them may be removed; what finds a defect again should stay.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.corpus.recording import from_text, to_text
from tests.corpus.replay import recordings
from tests.fuzz.targets import OIDS
from tests.support.vectors import VECTORS

DIRECTORY: Final = Path(__file__).parent / "corpus"
LIMIT: Final = 4096
"""The largest input, in bytes."""

_TEXTS: Final = {
    "dsn": [
        b"\0postgresql://u:p%20w@h:1,[::1]:2/d?sslmode=require&options=-c%20a%3D1",
        b"\0host=a,b port=1,2 user='it\\'s' password=\\\\ target_session_attrs=any",
        b"\1[s]\nhost=h\n#c\n[other]\nport=5\n",
        b"\2h:5432:d:u:p\\:w\n*:*:*:*:x\n",
        b"\3PGPORT=5432",
        b"\3PGSERVICE=s",
        b"\3PGSSLMODE=verify-full",
    ],
    "scram": [
        b"\0r=0123456789abcdef0123xyz,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4\nv=AAAA",
        b"\1n,,n=u,r=abcdefghijklmnopqrst\nc=biws,r=abcdefghijklmnopqrst0123456789abcdef0123,p=AAAA",
        b"\0SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$AAAA:BBBB",
    ],
    "saslprep": [b"I\xc2\xadX", "\u2168\u00aa".encode(), "\u0627\u0031".encode(), b"\xff\xfe", b"a b\t"],
    "sql": [
        b"select 1",
        b"/* x */ -- y\nbegin; commit",
        b"with a as (select set_config('a','b',false)) select f(1)",
        b"create temp table t (a int)",
        b"COPY t FROM STDIN",
        b"prepare transaction 'x'",
    ],
}


def kept(target: str) -> list[bytes]:
    """The inputs that are in the repository."""
    path = DIRECTORY / f"{target}.txt"
    return (
        [from_text(line) for line in path.read_text(encoding="ascii").split("\n")[:-1]]
        if path.exists()
        else []
    )


def keep(target: str, inputs: list[bytes]) -> None:
    """Make these the inputs that are in the repository."""
    lines = sorted({to_text(data) for data in inputs}, key=lambda line: (len(line), line))
    (DIRECTORY / f"{target}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


def seeds(target: str) -> list[bytes]:
    """Where a run begins: what is kept, and real messages and texts."""
    found = kept(target) + _TEXTS.get(target, [])
    bodies = [vector.data[5:] for vector in VECTORS]
    if target == "values":
        found += [
            bytes((index,)) + body
            for index in range(len(OIDS))
            for body in (bytes(4), bytes(8), b"", b"\1{}")
        ]
    elif target == "rows":
        rows = [vector.data for vector in VECTORS if vector.data[:1] == b"D" and vector.direction == "B"]
        found += [bytes((n, n, 7, 9, 11)) + row for n in range(5) for row in rows]
    elif target in ("client", "messages", "engine", "server"):
        for recording in recordings():
            said = {"F": b"", "B": b""}
            for side, data in recording.lines:
                said[side] += data
            start = said["B"].find(b"Z\0\0\0\x05I") + 6
            if target == "engine":
                found += [bytes((kind, 0, 99)) + said["B"][start : start + 600] for kind in range(7)][::3]
            elif target == "client":
                found += [b"\0\xff" + said["B"][:500], bytes((20, 5)) + said["B"][start : start + 500]]
            elif target == "server":
                found += [b"\0\xff" + said["F"][:500]]
            else:
                found += [b"\0" + said["B"][:500], b"\1" + said["F"][41:500], b"\2" + said["F"][:41]]
        found += [bytes(3) + body for body in bodies]
    return sorted({data[:LIMIT] for data in found})
