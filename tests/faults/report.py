"""The tables: on the screen, as docs/fault-matrix.md, and as JSON."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata, util
from pathlib import Path

from tests.faults.catalogue import LEFT_OUT, Cell
from tests.faults.columns import ACQUIRE, COLUMNS, CONNECT, PATIENCE, QUERY
from tests.faults.faults import PLACES
from tests.faults.judge import GOOD, LIMIT, LIMIT_AGAIN, WORDS, Verdict
from tests.faults.run import AGAIN, DEADLINE

__all__ = ["DOCUMENT", "JSON", "document", "doubtful", "read", "summary", "write"]

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT, JSON = DOCS / "fault-matrix.md", DOCS / "fault-matrix.json"
Words = Mapping[str, Mapping[str, str]]
"""By column and cell."""

PACKAGES = {"asyncpg": "asyncpg", "psycopg": "psycopg", "pg8000": "pg8000", "psycopg_pool": "psycopg-pool"}

HEAD = """\
# The fault matrix

What a PostgreSQL driver does when the server, the pooler or the network goes wrong: {cells} ways to go wrong,
played over real TCP by a scripted server against pgproto's three adapters and their peers.  Repeat it with
`make faults` (or `python -m tests.faults`), which takes some 10 minutes and writes this page; `make test`
plays pgproto's columns and compares them with it.

One caller, one connection, one fault: that is all that is played here.  What a program does to itself
(values, sources and hooks that raise, a second task, thread or process, the last borrower of a connection) is
in [promise.md](promise.md).  Which poolers get what, and what `reset="auto"` cannot see, is in the
[guide](guide.md#poolers); real poolers are killed by `make chaos`.

## Result

Cells that are *right* (see the rules), of those that the driver can play; then what the others are.
First what PostgreSQL, poolers and networks do:

{real}

Then what only a broken or hostile server does (or somebody in between): messages out of their order, frames
that are none, other protocols, authentication that proves nothing.  These {contrived} cells have a `*` in the
tables below.

{lies}

{settings}

### How to read it

- A column without limits (asyncpg, psycopg async and pg8000 by default) hangs where a server is silent,
  because nobody has told it how long to wait.  That is documented, and one setting away; the best column has
  that setting, and is the one to judge the driver by.
- *Late* is psycopg's cancellation: it allows the server 5 s for a cancel request, and 5 s more to end the
  query.  psycopg's blocking connection has no limit for a query but the server's own `statement_timeout`,
  which a silent server doesn't keep; so it hangs in its best column too.
- *Lost reason* means that the program sees "connection was closed" and not "terminating connection due to
  administrator command": an error of a declared class, in time.  psycopg's pool logs why it can't connect,
  and tells its caller only that it couldn't.
- The rules were made by pgproto's authors, and pgproto was made to keep them; the peers were not.  What was
  seen in each cell that is not right is in [fault-matrix.json](fault-matrix.json).
- Races end now one way and now the other.  {unstable}

To play one cell, and see the exception:

```console
python -m tests.faults --column asyncpg-best --cell copy_out/P5/noise --details
```

## The rules of judgement

A cell is one fault at one position under one workload.  It is played in a process of its own, with one
connection in the pool: the workload, into which the fault strikes; then, with the server healthy again, one
more query through the pool (and, if that fails, another one); then the pool is closed.  What is left is
looked at: sockets, threads, tasks, and errors that nobody caught.

{words}

- A declared exception is one of the driver's own documented hierarchy: `pgproto.Error`;
  `asyncpg.PostgresError`, `asyncpg.InterfaceError`, `TimeoutError`, `OSError` (asyncpg promises nothing else
  for connecting), but not `asyncpg.InternalClientError`; `psycopg.Error`, and the `TimeoutError` of
  `asyncio.timeout` where that is the column's setting; `pg8000.native.Error` and its DB-API siblings (in
  which it wraps a socket's errors, but for the one place that shows here), and `TimeoutError` where `timeout`
  was given.
- The reason of the server is kept if the SQLSTATE of its *first* words can be found in the exception, in its
  cause, or in what it carries along.  Who has only the text gets "text only", which counts as right.
- A driver that reports success before ReadyForQuery may be wrong about the commit: false success.
- A WARNING is a reason too (57P02, "because of crash").  A peer that hands it to its documented handler of
  notices, and has it not in the exception, gets "notice only", which counts as right.
- Where the server is broken or hostile, a peer's class for internal errors is a declared one
  (`asyncpg.InternalClientError`), and refusing is never needless.  What the event loop logs, while the caller
  gets what it should, is "logged", which counts as right for a peer.
- Sending the password in plain text to a server that asks for it is a lawful choice: n/a for a peer.
- Where the fault strikes an idle connection, or behind a good answer (an extra ReadyForQuery), the next query
  may fail once, with a declared error, and that is right.  pgproto must do better in its own columns: an idle
  connection that died must not be seen at all.
- Protocol violations, and answers that come slowly: an error is right; so is the right answer, if the next
  query gets its own rows too.  pgproto must give an error.
- pgproto must give the outcome label that the bytes allow, for each of the 100 queries of a batch too.
- No step may take longer than {limit:g} s; a cell is killed after {deadline:g} s.  A cell that is not right,
  hangs included, is played a second time, for {again:g} s, with {late:g} s for a step and time limits of
  twice the length, and the second play counts: load makes no hang.
- Nobody is blamed for a feature that they do not claim: such cells are n/a, and so are positions that a
  driver never gets to (a driver that does not prepare has no answer to preparing).
- Times: what is finite by a driver's default is shortened, in every column ({query:g} s for a command,
  {connect:g} s to connect, 2 s where libpq knows no less, {acquire:g} s to wait for the pool).  What has no
  limit by default has none in the driver's default column, and these in its best one.  The defaults for
  connecting are pgproto's 10 s, asyncpg's 60 s, psycopg's 130 s, and none of pg8000; for a command pgproto's
  is 300 s, and the others have none.  Where the right end is a result, the limit is {patience:g} s.

## By fault

How many cells are right, of those played; and the gravest word of the others.

{by_fault}

Left out, because a server that talks over TCP is not where it happens:

{left_out}

## By cell

The name of a cell is its workload, its position and its fault.  Positions: {places}.

Words: `.` right, `t` text only, `m` notice only, `l` logged, `-` n/a, else the word.

{by_cell}
"""


def summary(cells: Mapping[str, Cell], verdicts: Mapping[str, Mapping[str, Verdict]]) -> str:
    """A table for the screen: how many cells of each column got each word."""
    found = {verdict.word for by_cell in verdicts.values() for verdict in by_cell.values()}
    words = [word for word in WORDS if word in found]
    width = max(map(len, verdicts))
    lines = [" " * width + "".join(f"  {word}" for word in words)]
    for column, by_cell in verdicts.items():
        counts = Counter(verdict.word for verdict in by_cell.values())
        lines.append(column.ljust(width) + "".join(f"  {counts[word]:>{len(word)}}" for word in words))
    return "\n".join(lines)


def write(
    cells: Mapping[str, Cell], verdicts: Mapping[str, Mapping[str, Verdict]], before: Words | None = None
) -> None:
    """Write both documents; what was not played stays as it is, if the cells are the same.

    Args:
        cells: all of them.
        verdicts: by column and cell.
        before: the words of an earlier run that were others; by default those that the JSON has now.
    """
    stored = json.loads(JSON.read_text()) if JSON.exists() else {"words": {}, "details": {}}
    words, details = {}, {}
    for column in COLUMNS:
        if column in verdicts:
            by_cell = verdicts[column]
            words[column] = {name: by_cell[name].word for name in cells}
            bad = [name for name in cells if by_cell[name].word not in GOOD]
            details[column] = {name: list(by_cell[name].details) for name in bad}
        elif list(stored["words"].get(column, ())) == list(cells):
            words[column], details[column] = stored["words"][column], stored["details"][column]
    before = before or {
        column: {name: old for name, old in stored["words"].get(column, {}).items() if by_cell[name] != old}
        for column, by_cell in words.items()
        if list(stored["words"].get(column, ())) == list(cells)
    }
    DOCS.mkdir(exist_ok=True)
    data = {"versions": versions(), "words": words, "before": before, "details": details}
    JSON.write_text(json.dumps(data, indent=1) + "\n")
    DOCUMENT.write_text(document(cells, words, before, versions()))


def unstable() -> dict[str, dict[str, str]]:
    """The cells that had another word in the run before the stored one, with that word."""
    before: dict[str, dict[str, str]] = json.loads(JSON.read_text())["before"]
    return {column: words for column, words in before.items() if words}


def doubtful() -> dict[str, list[str]]:
    """The cells that load may have spoilt: the unstable, the late, those worse at best than by default."""
    words = json.loads(JSON.read_text())["words"]
    before, rank = unstable(), list(WORDS).index
    found = {}
    for column, by_cell in words.items():
        usual = words.get(column.removesuffix("-best"), by_cell)
        found[column] = [
            name
            for name, word in by_cell.items()
            if name in before.get(column, ()) or word == "late" or rank(word) < rank(usual[name])
            if word not in GOOD or name in before.get(column, ())
        ]
    return found


def read(path: Path) -> dict[str, dict[str, Verdict]]:
    """The verdicts of a run from its JSON."""
    stored = json.loads(path.read_text())
    return {
        column: {
            name: Verdict(word, tuple(stored["details"][column].get(name, ())))
            for name, word in by_cell.items()
        }
        for column, by_cell in stored["words"].items()
    }


def versions() -> dict[str, str]:
    """The versions of the peers, and of Python."""
    found = {name: metadata.version(each) for name, each in PACKAGES.items() if util.find_spec(name)}
    return {"python": platform.python_version(), **found}


def document(cells: Mapping[str, Cell], words: Words, before: Words, versions: Mapping[str, str]) -> str:
    """The page; `before` has the words of the run before that were others."""
    return HEAD.format(
        cells=len(cells),
        real=_result(words, [name for name, cell in cells.items() if not cell.contrived]),
        lies=_result(words, [name for name, cell in cells.items() if cell.contrived]),
        contrived=sum(cell.contrived for cell in cells.values()),
        settings=_settings(words, versions),
        words=_words(),
        unstable=_unstable(before),
        limit=LIMIT,
        deadline=DEADLINE,
        again=AGAIN,
        late=LIMIT_AGAIN,
        query=QUERY,
        patience=PATIENCE,
        connect=CONNECT,
        acquire=ACQUIRE,
        by_fault=_by_fault(cells, words),
        left_out="\n".join(f"- {what}: {why}." for what, why in LEFT_OUT.items()),
        places=", ".join(f"{place} {meaning}" for place, meaning in PLACES.items()),
        by_cell=_by_cell(cells, words),
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in [head, *rows]]
    columns = lines[0].count("|") - 1
    return "\n".join([lines[0], "|" + "---|" * columns, *lines[1:]])


def _words() -> str:
    limits = {"limit": LIMIT, "deadline": DEADLINE, "again": AGAIN, "late": LIMIT_AGAIN}
    return _table(("word", "meaning"), [(word, text.format(**limits)) for word, text in WORDS.items()])


def _unstable(before: Words) -> str:
    found = [
        f"{COLUMNS[column].title} {', '.join(f'`{name}` ({old})' for name, old in cells.items())}"
        for column, cells in before.items()
        if cells
    ]
    told = "; ".join(found) if found else "none"
    return (
        "What two runs disagreed about, what was late, and what was worse with a driver's best settings "
        "than with its defaults was played once more, alone, with `--settle`.  Cells that had another word "
        f"in the run before: {told}."
    )


def _titles(words: Words) -> list[str]:
    return [COLUMNS[column].title for column in words]


def _result(words: Words, names: Sequence[str]) -> str:
    found = {by_cell[name] for by_cell in words.values() for name in names}
    bad = [word for word in WORDS if word not in GOOD and word in found]
    rows = []
    for column, by_cell in words.items():
        counts = Counter(by_cell[name] for name in names)
        played = len(names) - counts["n/a"]
        right = sum(counts[word] for word in GOOD) - counts["n/a"]
        share = f"**{right}** of {played}" if right == played else f"{right} of {played}"
        rows.append([COLUMNS[column].title, share, *[str(counts[word] or "") for word in bad]])
    return _table(["", "right", *bad], rows)


def _settings(words: Words, versions: Mapping[str, str]) -> str:
    lines = ["Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".", ""]
    lines += ["Settings:", ""]
    lines += [f"- {COLUMNS[column].title}: {COLUMNS[column].settings}." for column in words]
    return "\n".join(lines)


def _by_fault(cells: Mapping[str, Cell], words: Words) -> str:
    def rows() -> Iterator[list[str]]:
        groups: dict[tuple[int, str], list[str]] = {}
        for name, cell in cells.items():
            groups.setdefault(_group(cell), []).append(name)
        for (number, title), names in sorted(groups.items()):
            mark = "*" if all(cells[name].contrived for name in names) else ""
            row = [str(number or ""), f"{title} {mark}".strip()]
            for by_cell in words.values():
                played = [by_cell[name] for name in names if by_cell[name] != "n/a"]
                right = sum(word in GOOD for word in played)
                bad = [word for word in WORDS if word in played and word not in GOOD]
                row.append(f"{right}/{len(played)} {bad[0] if bad else ''}".strip() if played else "n/a")
            yield row

    return _table(["#", "fault", *_titles(words)], rows())


def _group(cell: Cell) -> tuple[int, str]:
    fault = cell.fault
    if cell.unsafe:
        return 99, "a server that cannot prove who it is, or asks for the password"
    if cell.place == "P12":
        return fault.number, "while connecting: " + {
            8: "FIN without a word", 9: "RST", 11: "silence", 13: "noise",
            18: "no PostgreSQL, or broken frames",
            20: "the server refuses: 57P03, 53300", 21: "28P01", 26: "TLS stalls, or is refused or faked",
            41: "nonsense about versions and keys",
        }.get(fault.number, fault.title)  # fmt: skip
    if cell.place == "P8":
        return fault.number, "behind an ERROR: " + fault.title.partition("then: ")[2]
    return fault.number, fault.title


def _by_cell(cells: Mapping[str, Cell], words: Words) -> str:
    short = {"right": ".", "text only": "t", "notice only": "m", "logged": "l", "n/a": "-"}
    rows = [
        [
            f"`{name}`{'*' if cells[name].contrived else ''}",
            *[short.get(by_cell[name], by_cell[name]) for by_cell in words.values()],
        ]
        for name in cells
    ]
    return _table(["cell", *_titles(words)], rows)
