"""`python -m tests.chaos`: 200 kills of the real server under 32 clients, and every other weather once.

The scene "poolers" has as many kills again, of servers and of pgbouncer 1.18 and 1.24 in front of them in
transaction mode, with and without named statements, while several callers share connections.

Prints what it saw; ends with status 1 and the first contradiction if there is one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pgproto_pytest import Driver, postgres
from tests.chaos.campaign import SETTINGS, Scenes, prepare
from tests.support import pgbouncer
from tests.support.drivers import DRIVERS
from tests.support.postgres import PostgresServer, Version

VERSIONS: tuple[Version, ...] = ("18", "15")
SCENES = ("kills", "server", "pgbouncer", "poolers", "network", "failover")
POOLERS: tuple[pgbouncer.Version, ...] = ("1.18", "1.24")


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how often a server is killed, in all")
    parser.add_argument("--clients", type=int, default=32, help="callers at a time")
    parser.add_argument("--server", choices=VERSIONS, help="one version only")
    parser.add_argument("--adapter", choices=[each.name for each in DRIVERS], help="one adapter only")
    parser.add_argument("--pooler", choices=POOLERS, help='one pgbouncer only, in the scene "poolers"')
    parser.add_argument("--scene", choices=SCENES, help="one kind of scene only")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is random")
    return parser.parse_args(argv)


def play(
    scenes: Scenes,
    version: Version,
    driver: Driver,
    wanted: Sequence[str],
    kills: int,
    poolers: Sequence[pgbouncer.Version],
) -> None:
    """The scenes of one adapter with one server."""
    with PostgresServer(version, tls=False, settings=SETTINGS) as server:
        prepare(server)
        if "kills" in wanted and kills:
            scenes.kills(driver, server, kills)
        if "server" in wanted:
            scenes.on_a_server(driver, server)
        if "pgbouncer" in wanted and pgbouncer.missing() is None:
            scenes.behind_pgbouncer(driver, server, "session")
            scenes.behind_pgbouncer(driver, server, "transaction")
        if "poolers" in wanted:
            ways = [(each, named) for each in poolers for named in (True, False)]
            for number, (pooler, named) in enumerate(ways):
                share = kills // len(ways) + (number < kills % len(ways))
                if share:
                    scenes.kills_behind_pgbouncer(driver, server, pooler, named, share)
        if "network" in wanted:
            scenes.network(driver, server)
    if "failover" in wanted:
        scenes.failover(driver, version)


def main(argv: Sequence[str]) -> int:
    """Run what the command line asks for."""
    asked = arguments(argv)
    versions = [asked.server] if asked.server else [v for v in VERSIONS if postgres.missing(v) is None]
    drivers = [each for each in DRIVERS if asked.adapter in (None, each.name)]
    wanted = [asked.scene] if asked.scene else SCENES
    poolers = [asked.pooler] if asked.pooler else [v for v in POOLERS if pgbouncer.missing(v) is None]
    pairs = [(version, driver) for version in versions for driver in drivers]
    scenes = Scenes(clients=asked.clients, seed=asked.seed)
    failure: AssertionError | None = None
    for number, (version, driver) in enumerate(pairs):
        share = asked.kills // len(pairs) + (number < asked.kills % len(pairs))
        print(f"PostgreSQL {version}, {driver} ...", file=sys.stderr, flush=True)
        try:
            play(scenes, version, driver, wanted, share, poolers)
        except AssertionError as error:
            failure = failure or error
            print(f"FAILED with seed {asked.seed}: {error}", file=sys.stderr, flush=True)
    print("\n".join(scenes.report.lines()))
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
