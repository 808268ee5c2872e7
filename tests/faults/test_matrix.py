"""pgproto's columns of the fault matrix are all right, and docs/fault-matrix.md says what is true."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from pgproto.wire import Query, StartupMessage
from tests.faults.catalogue import cells
from tests.faults.columns import COLUMNS, OURS
from tests.faults.judge import GOOD, WORDS, Record, Verdict, judge
from tests.faults.report import DOCUMENT, JSON, document
from tests.faults.run import play_all
from tests.faults.server import FaultServer

STORED = json.loads(JSON.read_text())


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("column", OURS)
def test_our_column(column: str) -> None:
    verdicts: dict[str, Verdict] = {}

    def done(_: str, name: str, verdict: Verdict, again: bool) -> None:
        verdicts[name] = verdict

    play_all([column], cells(), lanes=4, done=done)
    assert {name: verdict.details for name, verdict in verdicts.items() if verdict.word not in GOOD} == {}
    assert {name: verdict.word for name, verdict in verdicts.items()} == STORED["words"][column]


def test_the_page_shows_what_was_measured() -> None:
    """The page is made of the JSON file, and of the cells that there are now."""
    assert all(list(by_cell) == list(cells()) for by_cell in STORED["words"].values())
    assert [column for column in COLUMNS if column in STORED["words"]] == list(STORED["words"])
    assert set(OURS) <= set(STORED["words"])
    assert DOCUMENT.read_text() == document(cells(), STORED["words"], STORED["before"], STORED["versions"])


def test_every_position_and_fault_has_a_cell() -> None:
    from tests.faults.faults import FAULTS, PLACES

    assert {cell.place for cell in cells().values()} == set(PLACES)
    named = {cell.fault.name for cell in cells().values()}
    assert set(FAULTS) - named == set()
    assert len(cells()) >= 250


# ---- The judge: each word is given for what it is for

GOOD_END = {"sockets": 0, "threads": [], "tasks": 0, "unhandled": []}


def step(result: Any = None, error: dict[str, Any] | None = None, seconds: float = 0.1) -> dict[str, Any]:
    return {"result": result, "error": error, "seconds": seconds, "outcomes": []}


def error(*states: str, declared: bool = True, text: str = "", outcome: str = "unknown") -> dict[str, Any]:
    return {
        "class": "E", "declared": declared, "states": list(states), "text": text, "outcome": outcome,
        "at": [],
    }  # fmt: skip


def record(workload: dict[str, Any], **more: Any) -> Record:
    """A record in which all is well but what is given."""
    steps = {"workload": workload, "next": step(4711), "close": step(), "end": GOOD_END}
    return Record(steps={**steps, **more.pop("steps", {})}, struck=True, **more)


FATAL = "single/P2/fatal"
ADMIN = "terminating connection due to administrator command"
RIGHT = step(error=error("57P01", outcome="failed"))
CASES: list[tuple[str, str, Record]] = [
    ("right", FATAL, record(RIGHT)),
    ("right", "single/P2/noise", record(step([1, 2, 3]))),
    (
        "text only",
        FATAL,
        record(step(error=error(text=f"FATAL:  {ADMIN}", outcome="failed"))),
    ),
    ("lost reason", FATAL, record(step(error=error(outcome="failed")))),
    ("lost reason", FATAL, record(step(error=error("08P01", outcome="failed")))),
    ("wrong label", FATAL, record(step(error=error("57P01")))),
    ("wrong class", FATAL, record(step(error=error("57P01", declared=False, outcome="failed")))),
    ("wrong class", FATAL, record(RIGHT, steps={"end": {**GOOD_END, "unhandled": [error(declared=False)]}})),
    ("wrong class", FATAL, record(RIGHT, steps={"close": step(error=error(declared=False))})),
    ("needless error", "single/P2/noise", record(step(error=error()))),
    ("needless error", "single/P10/fatal", record(step(error=error("57P01")))),
    ("bad pool", FATAL, record(RIGHT, steps={"next": step(error=error())})),
    ("bad pool", FATAL, record(RIGHT, steps={"close": step(error=error())})),
    ("leak", FATAL, record(RIGHT, steps={"end": {**GOOD_END, "sockets": 1}})),
    ("leak", FATAL, record(RIGHT, steps={"end": {**GOOD_END, "tasks": 1}})),
    ("leak", FATAL, record(RIGHT, steps={"end": {**GOOD_END, "threads": ["t"]}})),
    ("leak", FATAL, record(RIGHT, steps={"left": {"text": "tasks left behind"}})),
    ("false success", "single/P7/fatal", record(step([1, 2, 3]))),
    ("unsafe", "connect/P12/auth-ok-without-final", record(step([]))),
    ("unsafe", "connect/P12/auth-cleartext", record(step(error=error()), leaked_password=True)),
    ("wrong rows", "single/P7/extra-answer", record(step([1, 2, 3]), steps={"next": step(3)})),
    ("wrong rows", "single/P2/noise", record(step([1, 2]))),
    ("wrong rows", "batch/P7/early-ready", record(step([1, 2]), steps={"next": step(0)})),
    ("hang", FATAL, record(RIGHT, killed=True)),
    ("late", FATAL, record({**RIGHT, "seconds": 60.0})),
    ("crash", FATAL, record(RIGHT, signal=11)),
    ("wrong class", FATAL, record(RIGHT, steps={"broken": {"error": error(declared=False)}})),
    ("n/a", FATAL, Record(steps={"workload": step([1, 2, 3])})),
    ("n/a", FATAL, record(RIGHT, steps={"lacks": {"text": "no pool"}})),
]


CRASH = step(error=error())
ALIEN = {**GOOD_END, "unhandled": [error(declared=False)]}
INTERNAL = step(error={**error(declared=False), "internal": True})
PEERS: list[tuple[str, str, Record]] = [
    ("notice only", "single/P2/crash", record(CRASH, steps={"end": {**GOOD_END, "notices": ["57P02"]}})),
    ("lost reason", "single/P2/crash", record(CRASH, steps={"end": {**GOOD_END, "notices": []}})),
    ("logged", FATAL, record(RIGHT, steps={"end": ALIEN})),
    ("right", "single/P7/unknown", record(INTERNAL)),
    ("wrong class", "single/P2/eof", record(INTERNAL)),
    ("right", "single/P7/unknown", record(step([1, 2, 3]))),
    ("wrong rows", "single/P7/unknown", record(step([1, 2]))),
    ("right", "single/P4/drip", record(step([1, 2, 3]))),
    ("right", "connect/P12/noise-before-ok", record(step(error=error()))),
    ("needless error", "connect/P12/noise", record(step(error=error()))),
    ("n/a", "connect/P12/auth-cleartext", record(step(error=error()), leaked_password=True)),
    ("unsafe", "connect/P12/auth-cleartext-after-scram", record(step(error=error()), leaked_password=True)),
]


@pytest.mark.parametrize("index", range(len(CASES)))
def test_judge(index: int) -> None:
    word, name, seen = CASES[index]
    assert judge(cells()[name], seen, ours=True).word == word


@pytest.mark.parametrize("index", range(len(PEERS)))
def test_judge_of_peers(index: int) -> None:
    word, name, seen = PEERS[index]
    assert judge(cells()[name], seen, ours=False).word == word


@pytest.mark.parametrize("name", ["single/P7/unknown", "single/P4/drip", "connect/P12/noise-before-ok"])
def test_pgproto_gets_no_such_pardon(name: str) -> None:
    """What a peer may do here, pgproto may not."""
    done = step([1, 2, 3]) if "single" in name else step(error=error())
    assert judge(cells()[name], record(done), ours=True).word not in GOOD


def test_every_word_is_tested() -> None:
    assert {word for word, _, _ in CASES + PEERS} == set(WORDS)


def test_a_fault_that_changes_nothing_is_none() -> None:
    """A simple query has no BindComplete that could be missing: the cell is not played then."""
    with FaultServer(cells()["single/P7/no-bind"].fault, "P7") as server:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.settimeout(10)
            for message in (StartupMessage({"user": "me"}), Query("select n from matrix")):
                client.sendall(message.encode())
                heard = b""
                while b"Z\0\0\0\5" not in heard:
                    heard += client.recv(65536)
        assert not server.strikes


def test_peers_are_not_asked_for_more_than_they_claim() -> None:
    """Labels are pgproto's; an idle connection that died may cost a peer's next query one declared error."""
    assert judge(cells()[FATAL], record(step(error=error("57P01"))), ours=False).word == "right"
    idle = cells()["single/P10/fatal"]
    assert judge(idle, record(step(error=error("57P01"))), ours=False).word == "right"
    assert judge(idle, record(step(error=error())), ours=False).word == "lost reason"
    spoilt = cells()["single/P7/extra-ready"]
    again = {"next": step(error=error()), "again": step(4712)}
    assert judge(spoilt, record(step([1, 2, 3]), steps=again), ours=False).word == "right"
