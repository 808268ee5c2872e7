"""What a caller's own code can do to the library that calls it: values, records and sources that strike.

A `Strike` is armed with one deed and a number: at that call of the caller's code it happens, and before and
after it the code behaves.  The values and sources here are made of such calls: whatever the library does to
them (compare, convert, iterate, ask for an offset), it calls its caller.

The deeds are named in `catalogue.DEEDS`; which of them is possible at which place is in `catalogue.CALLERS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final

__all__ = ["RAISED", "VALUES", "Interrupt", "Strike", "records_of", "source_of"]


class Interrupt(BaseException):
    """What a signal handler raises: no Exception.  (A loop carries it, unlike KeyboardInterrupt.)"""


RAISED: Final[dict[str, type[BaseException]]] = {
    kind.__name__: kind
    for kind in (
        TypeError,
        RuntimeError,
        MemoryError,
        RecursionError,
        KeyError,
        StopIteration,
        StopAsyncIteration,
        GeneratorExit,
        asyncio.CancelledError,
        Interrupt,
    )
}
"""The deeds that are exceptions."""


class Strike:
    """One deed, at one call of the caller's code; an exception at all later calls too, unless it is for once.

    Args:
        deed: its name: an exception's, "cancel", "abort", "close", "query", "slow", or "nothing".
        at: at which call, from 1.
        act: does what is no exception.
        once: an exception is raised once.

    Attributes:
        seconds: how long "slow" takes.
        calls: how often the code was called.
        fired: it has happened.
        errors: the exceptions that were raised.
    """

    def __init__(self, deed: str, at: int, act: Callable[[str], None], *, once: bool = False) -> None:
        self.deed = deed
        self.at = at
        self.act = act
        self.seconds = 0.005
        self.once = once
        self.calls = 0
        self.fired = False
        self.errors: list[BaseException] = []

    def __repr__(self) -> str:
        return f"{self.deed} at call {self.at} of {self.calls}"

    @property
    def raises(self) -> bool:
        """True if an exception was raised."""
        return bool(self.errors)

    @property
    def ends(self) -> bool:
        """True if it has ended the session."""
        return self.fired and self.deed in ("abort", "close")

    def caused(self, error: BaseException | None) -> bool:
        """True if the exception is one that was raised, or says that it came of one."""
        seen = 0
        while error is not None and seen < 10:
            if any(error is each for each in self.errors):
                return True
            error = error.__cause__ or error.__context__
            seen += 1
        return False

    def __call__(self) -> None:
        """The library calls its caller."""
        self.calls += 1
        if self.calls < self.at or (self.once and self.calls > self.at):
            return
        kind = RAISED.get(self.deed)
        if kind is not None:
            self._happen()
            error = kind("of the caller")
            self.errors.append(error)
            raise error
        if self.calls == self.at and self.deed not in ("slow", "lost task", "nothing"):
            self._happen()

    def _happen(self) -> None:
        if not self.fired:
            self.fired = True
            self.act(self.deed)

    async def later(self) -> None:
        """The same where the caller's code may wait."""
        self()
        if self.calls == self.at and self.deed in ("slow", "lost task"):
            self._happen()
            if self.deed == "slow":
                await asyncio.sleep(self.seconds)
            else:
                await _cancelled(self)


async def _cancelled(strike: Strike) -> None:
    """Wait for a task that somebody cancels: CancelledError comes out of it, and nobody has cancelled us."""
    task = asyncio.ensure_future(asyncio.sleep(10.0))
    asyncio.get_running_loop().call_later(0.001, task.cancel)
    try:
        await task
    except asyncio.CancelledError as error:
        strike.errors.append(error)
        raise


# ---- Values


class _Double(float):
    """Converted, to see which digits it has."""

    strike: Strike

    def __float__(self) -> float:
        self.strike()
        return 0.5


class _Whole(int):
    """Taken where a float is wanted."""

    strike: Strike

    def __float__(self) -> float:
        self.strike()
        return 1.0


class _List(list[int]):
    """Iterated."""

    strike: Strike

    def __iter__(self) -> Iterator[int]:
        for number in super().__iter__():
            self.strike()
            yield number


class _Mapping(dict[str, int]):
    """Asked for its items."""

    strike: Strike

    def items(self) -> Any:
        self.strike()
        return super().items()


class _Zone(tzinfo):
    """Asked for its offset."""

    strike: Strike

    def utcoffset(self, when: datetime | None) -> timedelta:
        self.strike()
        return timedelta(hours=1)

    def dst(self, when: datetime | None) -> None:
        return None

    def tzname(self, when: datetime | None) -> str:
        return "caller"


class _Disguise:
    """Asked what it is."""

    def __init__(self, strike: Strike) -> None:
        self._strike = strike

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            object.__getattribute__(self, "_strike")()
        return object.__getattribute__(self, name)


def _armed(thing: Any, strike: Strike) -> Any:
    thing.strike = strike
    return thing


def _moment(strike: Strike) -> datetime:
    return datetime(2024, 5, 1, 12, tzinfo=_armed(_Zone(), strike))


VALUES: Final[dict[str, tuple[str, Callable[[Strike], object]]]] = {
    "double": ("numeric", lambda strike: _armed(_Double(0.5), strike)),
    "whole": ("float8", lambda strike: _armed(_Whole(1), strike)),
    "list": ("int4[]", lambda strike: _armed(_List([1, 2, 3]), strike)),
    "mapping": ("jsonb", lambda strike: [_armed(_Mapping(a=1), strike), _armed(_Mapping(b=2), strike)]),
    "zone": ("timestamptz", _moment),
    "disguise": ("int8", _Disguise),
}
"""Values that call back, each with the type of the parameter that it is for."""


# ---- Records and sources


class _Record(list[object]):
    """A record that is iterated over."""

    strike: Strike

    def __iter__(self) -> Iterator[object]:
        self.strike()
        return super().__iter__()


def records_of(ids: list[int], strike: Strike, kind: str) -> list[Any]:
    """Records of one id, whose iteration calls back."""
    if kind == "record":
        return [_armed(_Record([id]), strike) for id in ids]
    return [(id,) for id in ids]


class _Iterator:
    """A source that is no generator: what it raises leaves it as it is."""

    def __init__(self, things: list[Any], strike: Strike) -> None:
        self._things = iter(things)
        self._strike = strike

    def __iter__(self) -> _Iterator:
        return self

    def __next__(self) -> Any:
        self._strike()
        return next(self._things)


class _AsyncIterator:
    """The same for asynchronous code."""

    def __init__(self, things: list[Any], strike: Strike) -> None:
        self._things = iter(things)
        self._strike = strike

    def __aiter__(self) -> _AsyncIterator:
        return self

    async def __anext__(self) -> Any:
        await self._strike.later()
        for thing in self._things:
            return thing
        raise StopAsyncIteration


class _File:
    """A source that is read like a file."""

    def __init__(self, things: list[bytes], strike: Strike) -> None:
        self._things = iter(things)
        self._strike = strike

    def read(self, size: int) -> bytes:
        self._strike()
        return next(self._things, b"")


def source_of(kind: str, things: list[Any], strike: Strike) -> Any:
    """Things from a source: a "generator", an "iterator", a "file", or something asynchronous."""

    def generator() -> Iterator[Any]:
        for thing in things:
            strike()
            yield thing

    async def later() -> AsyncIterator[Any]:
        for thing in things:
            await strike.later()
            yield thing

    if kind == "generator":
        return generator()
    if kind == "iterator":
        return _Iterator(things, strike)
    if kind == "file":
        return _File(things, strike)
    if kind == "async generator":
        return later()
    return _AsyncIterator(things, strike)
