"""The second act: the server goes away in the middle of running batches, and comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pgproto
import pgproto_blocking
from pgproto_pytest.postgres import PostgresServer

from .players import PLAYERS, Player
from .report import Report
from .scene import CREATE, INSERT, PARTS, SLEEP, SLOW, Part

__all__ = ["play"]

PATIENCE = 20.0
ENDED_WITHIN = 2.0
HEALED_WITHIN = 1.0
POLL_SECONDS = 0.02
MEANINGS = {
    pgproto.Outcome.ROLLED_BACK: "undone: repeat it",
    pgproto.Outcome.SKIPPED: "never looked at: repeat it",
    pgproto.Outcome.FAILED: "the server's own error",
    pgproto.Outcome.COMMITTED: "done",
    pgproto.Outcome.UNKNOWN: "no answer: ask the table",
}


def play(server: PostgresServer, report: Report) -> None:
    """Stop the server while batches run, start it again, and hold every outcome against the table."""
    with pgproto_blocking.connect(server.dsn()) as conn:
        conn.execute(CREATE)
    cast = {player.name: [Part(player.name, part) for part in range(len(PARTS))] for player in PLAYERS}
    threads, crashed = _start(server, cast)
    _wait(lambda: _sleeping(server) == 2 * len(PLAYERS), "slow statements running")
    report.say("Each adapter has two batches running (both are at the slow statement) and one in the queue.")

    stopping = time.monotonic()
    server.stop("fast")
    stopped = time.monotonic()
    lost = [part for parts in cast.values() for part in parts[:2]]
    _wait(lambda: all(part.ended is not None for part in lost) or bool(crashed), "lost batches end")
    last = max(part.ended or stopping for part in lost) - stopping
    report.say(f"Server stopped (fast shutdown, {stopped - stopping:.2f} s).")
    report.check(
        last < ENDED_WITHIN and not crashed,
        f"all {len(lost)} batches ended by themselves, the last {last * 1e3:.0f} ms after the signal",
        crashed or f"{last:.1f} s",
    )
    words = {str(part.error.__cause__) if part.error is not None else "nothing" for part in lost}
    report.check(
        all(
            isinstance(part.error, pgproto.ConnectionLost) and part.error.sqlstate == "57P01" for part in lost
        ),
        f"the server's words: {', '.join(sorted(words))}",
        [repr(part.error) for part in lost],
    )

    server.start()
    started = time.monotonic()
    for thread in threads:
        thread.join(PATIENCE)
    report.say("\nServer started again; what became of every query:\n")
    with pgproto_blocking.connect(server.dsn()) as conn:
        stored = {(row[0], row[1]) for row in conn.fetch("select adapter, number from demo_orders")}
        _show(report, cast, stored)
        _check_outcomes(report, cast, stored)
        _check_healing(report, cast, started, crashed or [t.name for t in threads if t.is_alive()])
        _repeat(report, conn, cast)


def _start(server: PostgresServer, cast: dict[str, list[Part]]) -> tuple[list[threading.Thread], list[str]]:
    """Play the outage in a thread for each adapter; the list gets the names of those that crashed."""
    crashed: list[str] = []

    def run(player: Player) -> None:
        try:
            player.outage(server.dsn(application_name=f"demo {player.name}"), cast[player.name])
        except BaseException as error:
            crashed.append(f"{player.name}: {error!r}")

    threads = [
        threading.Thread(target=run, args=(player,), name=player.name, daemon=True) for player in PLAYERS
    ]
    for thread in threads:
        thread.start()
    return threads, crashed


def _sleeping(server: PostgresServer) -> int:
    with pgproto_blocking.connect(server.dsn()) as conn:
        return int(
            conn.fetchval(
                "select count(*) from pg_stat_activity where query = $1 and wait_event = 'PgSleep'", SLEEP
            )
        )


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE:g} s: {what}")
        time.sleep(POLL_SECONDS)


def _show(report: Report, cast: dict[str, list[Part]], stored: set[tuple[str, int]]) -> None:
    rows: list[list[str]] = []
    for index, (name, _, statements) in enumerate(PARTS):
        rows.append([f"{name}:", *[""] * (len(cast) + 2)])
        for position, (number, _) in enumerate(statements):
            outcomes = [parts[index].outcomes[position] for parts in cast.values()]
            shown = [outcome.name if outcome is not None else "?" for outcome in outcomes]
            there = sorted({"yes" if (adapter, number) in stored else "no" for adapter in cast})
            meaning = MEANINGS.get(outcomes[0], "") if outcomes[0] is not None else ""
            if number == SLOW:
                rows.append([f"  {SLEEP}", *shown, "", meaning])
            else:
                rows.append([f"  insert order {number}", *shown, "/".join(there), meaning])
    report.table(["query", *cast, "stored", ""], rows)
    report.say()


def _check_outcomes(report: Report, cast: dict[str, list[Part]], stored: set[tuple[str, int]]) -> None:
    wrong, lies, unknown = [], [], 0
    for adapter, parts in cast.items():
        for part in parts:
            for number, outcome, expected in zip(part.orders, part.outcomes, part.expected, strict=True):
                if outcome is not expected:
                    wrong.append(f"{adapter} {number}: {outcome}")
                if number == SLOW:
                    continue
                if outcome is pgproto.Outcome.UNKNOWN:
                    unknown += 1
                elif (outcome is pgproto.Outcome.COMMITTED) != ((adapter, number) in stored):
                    lies.append(f"{adapter} {number}: {outcome}")
    total = sum(len(part.orders) for parts in cast.values() for part in parts)
    report.check(not wrong, f"each of the {total} queries has its own end, the same with each adapter", wrong)
    report.check(
        not lies,
        f"what is COMMITTED is in the table, what is not is not there ({unknown} are UNKNOWN, and say so)",
        lies,
    )


def _check_healing(report: Report, cast: dict[str, list[Part]], started: float, stuck: list[str]) -> None:
    healed = {name: (parts[2].ended or float("inf")) - started for name, parts in cast.items()}
    times = ", ".join(f"{name} {max(0.0, seconds) * 1e3:.0f} ms" for name, seconds in healed.items())
    report.check(
        all(seconds < HEALED_WITHIN for seconds in healed.values()) and not stuck,
        f"the pools healed by themselves; first success after the server's return: {times}",
        stuck,
    )
    report.check(
        all(parts[2].error is None for parts in cast.values()),
        "batch 3 waited out the outage in the pool's queue and knows nothing of it",
        [repr(parts[2].error) for parts in cast.values()],
    )


def _repeat(report: Report, conn: pgproto_blocking.Connection, cast: dict[str, list[Part]]) -> None:
    """Repeat what is safe to repeat, ask the table about what is UNKNOWN, and count."""
    batch = pgproto.Batch()
    for adapter, parts in cast.items():
        for part in parts:
            for number, outcome in zip(part.orders, part.outcomes, strict=True):
                if number == SLOW or outcome is None:
                    continue
                if outcome.safe_to_retry:
                    batch.queue(INSERT, adapter, number)
                elif outcome is pgproto.Outcome.UNKNOWN:
                    batch.queue(
                        "insert into demo_orders select $1, $2"
                        " where not exists (select from demo_orders where adapter = $1 and number = $2)",
                        adapter,
                        number,
                    )
    conn.send_batch(batch)
    rows = conn.fetch("select adapter, number from demo_orders order by adapter, number")
    orders = [number for _, _, statements in PARTS for number, _ in statements if number != SLOW]
    wanted = sorted((adapter, number) for adapter in cast for number in orders)
    found = sorted((row[0], row[1]) for row in rows)
    report.check(
        found == wanted,
        f"after repeating just what is safe and asking about the rest, all {len(wanted)} orders are there"
        " exactly once",
        found,
    )
