"""The default part of the simulation: some schedules of every profile, and that the simulation itself is one.

More by `python -m tests.sim --seeds 200000 --jobs 2`.
"""

from __future__ import annotations

import importlib

import pytest

from tests.sim import run
from tests.sim.__main__ import chunk
from tests.sim.catalogue import CALLERS
from tests.sim.coverage import UNIVERSE, Pair, watching
from tests.sim.settings import PROFILES
from tests.sim.world import World
from tests.support.builds import pure_only

# Chunks, so that several processes can share them.
_CHUNKS = [("all", first, 100) for first in range(0, 700, 100)]
_CHUNKS += [("callers", first, 150) for first in range(0, 600, 150)]
_CHUNKS += [
    (profile, 0, 40) for profile in sorted(PROFILES) if profile not in ("all", "storm", "core", "callers")
]
_CHUNKS += [("core", 0, 100), ("storm", 0, 10)]


@pytest.mark.parametrize(("profile", "first", "count"), _CHUNKS)
def test_schedules_keep_every_promise(profile: str, first: int, count: int) -> None:
    queries = 0
    for seed in range(first, first + count):
        queries += run(seed, profile).queries
    assert queries > count  # they did something


@pytest.mark.parametrize("seed", range(12))
def test_a_schedule_is_a_function_of_its_seed(seed: int) -> None:
    first = run(seed, trace=True)
    second = run(seed, trace=True)
    assert first.trace
    assert first.trace == second.trace
    assert (first.queries, first.cells) == (second.queries, second.cells)


@pytest.mark.parametrize(("profile", "name"), [("calm", "Clients"), ("core", "walk")])
def test_a_crash_is_a_violation_of_its_seed_and_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, profile: str, name: str
) -> None:
    module = importlib.import_module("tests.sim.run")
    whole = getattr(module, name)

    def breaks(world: World, *args: object) -> object:
        if world.seed == 1:
            raise LookupError("a mistake of the rig")
        return whole(world, *args)

    monkeypatch.setattr(module, name, breaks)
    totals = chunk(0, 3, profile)
    assert totals.schedules == 3
    ((found, seed, kind, what),) = totals.violations
    assert (found, seed, kind) == (profile, 1, "crash")
    assert what.startswith("LookupError('a mistake of the rig') came out\nTraceback")
    assert 'in breaks\n    raise LookupError("a mistake of the rig")' in what


def test_different_seeds_are_different_schedules() -> None:
    assert len({run(seed, "calm", trace=True).trace for seed in range(5)}) == 5


@pure_only("compiled code compares and converts numbers without asking them")
def test_everything_that_a_callers_code_can_do_happens_soon() -> None:
    happened: set[tuple[str, str]] = set()
    for seed in range(400):
        happened |= run(seed, "callers").deeds
    wanted = {(place, deed) for place, deeds in CALLERS.items() for deed in deeds}
    assert {place for place, _ in happened} == {place for place, _ in wanted}
    assert {deed for _, deed in happened} == {deed for _, deed in wanted}
    assert happened <= wanted
    assert len(happened) > len(wanted) / 2


@pure_only("compiled methods cannot be wrapped")
def test_walks_reach_most_pairs_of_state_and_message_soon() -> None:
    seen: set[Pair] = set()
    with watching(seen):
        for seed in range(150):
            run(seed, "core")
    assert seen <= UNIVERSE | {(state, name) for state, name in seen if name.startswith("0x")}
    assert len(seen & UNIVERSE) > len(UNIVERSE) / 2
