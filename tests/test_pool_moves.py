"""The tables of the pool's states: the machine makes all of their moves, and no others."""

from __future__ import annotations

import random

from pgproto.pool import (
    Action,
    Check,
    Close,
    Move,
    Open,
    PoolMachine,
    PoolObserver,
    PoolSettings,
    PoolWatch,
    Reset,
    Tell,
    Ticket,
)
from pgproto.pool.slots import (
    GRANTED,
    SLOT_MOVES,
    SLOT_STATES,
    TICKET_MOVES,
    TICKET_STATES,
    WAITING,
)
from tests.support import pool_script

Edges = set[tuple[str, str]]
MOVED: Edges = {
    (SLOT_STATES[before], SLOT_STATES[after]) for before in SLOT_MOVES for after in SLOT_MOVES[before]
}
TURNED: Edges = {
    (TICKET_STATES[before], TICKET_STATES[after]) for before in TICKET_MOVES for after in TICKET_MOVES[before]
}


class Walk(PoolObserver):
    """Random events for one pool, until it is gone."""

    def __init__(self, seed: int) -> None:
        self.moves: Edges = set()
        self.turns: Edges = set()
        self.random = random.Random(seed)
        self.now = 0.0
        settings = PoolSettings(min_size=0, max_size=2, check_after=1.0, max_lifetime=60.0, max_idle=20.0)
        watch = PoolWatch([self], None)
        self.pool = PoolMachine(settings, self.random.random, watch=watch)
        self.asked: list[Action] = []
        self.tickets: dict[Ticket, int] = {}

    def moved(self, move: Move) -> None:
        if move.before:
            self.moves.add((move.before.upper(), move.after.upper()))

    def look(self) -> None:
        """Take the actions, and compare the tickets with what they were."""
        for action in self.pool.take_actions():
            if isinstance(action, Tell):
                action.deliver()
            elif isinstance(action, Open | Check | Reset | Close):
                self.asked.append(action)
        for ticket, before in self.tickets.items():
            if ticket.state != before:
                self.turns.add((TICKET_STATES[before], TICKET_STATES[ticket.state]))
                self.tickets[ticket] = ticket.state

    def step(self) -> None:
        """One event."""
        chosen, pool = self.random, self.pool
        self.now += chosen.choice((0.0, 0.1, 3.0))
        in_use = [ticket for ticket, state in self.tickets.items() if state == GRANTED]
        alive = in_use + [ticket for ticket, state in self.tickets.items() if state == WAITING]
        what = chosen.randrange(10)
        if what < 3:
            ticket = pool.acquire(self.now, chosen.choice((0.5, 30.0)))
            self.tickets[ticket] = WAITING
        elif what < 6 and self.asked:
            self.answer(self.asked.pop(chosen.randrange(len(self.asked))))
        elif what < 8 and in_use:
            ticket = chosen.choice(in_use)
            if chosen.random() < 0.3:
                pool.refused(ticket, self.now)
            else:
                usable, clean = chosen.random() < 0.8, chosen.random() < 0.5
                pool.release(ticket, self.now, usable=usable, clean=clean)
        elif what == 8 and alive:
            pool.cancel(chosen.choice(alive), self.now)
        else:
            pool.tick(self.now)
        self.look()

    def answer(self, action: Action) -> None:
        """The driver's answer to what the machine has asked for."""
        well = self.random.random() < 0.7
        if isinstance(action, Open):
            if well:
                self.pool.opened(action.slot, action.generation, object(), self.now)
            else:
                self.pool.open_failed(action.slot, action.generation, OSError(), False, self.now)
        elif isinstance(action, Check):
            self.pool.check_done(action.slot, action.generation, well, self.now)
        elif isinstance(action, Reset):
            self.pool.reset_done(action.slot, action.generation, well, self.now)
        elif isinstance(action, Close):
            self.pool.closed(action.slot, action.generation, self.now)

    def run(self) -> None:
        """Some events, and the end."""
        for _ in range(self.random.randrange(10, 120)):
            self.step()
        self.pool.close(self.now, 0.0)
        self.look()
        while self.asked:
            self.answer(self.asked.pop())
            self.look()


def test_the_machine_makes_the_moves_of_the_tables_and_no_others() -> None:
    moves: Edges = set()
    turns: Edges = set()
    for seed in range(300):
        walk = Walk(seed)
        walk.run()
        moves |= walk.moves
        turns |= walk.turns
    assert moves == MOVED
    assert turns == TURNED


def test_the_table_says_what_the_other_tests_say() -> None:
    assert {state: set(following) for state, following in SLOT_MOVES.items()} == pool_script.SLOT_MOVES
