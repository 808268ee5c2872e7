"""Record the corpus anew from the real servers: `python -m tests.corpus.record [WORD ...]`.

With words, only the families (files in `recorded/`) whose name contains one of them.  Needs PostgreSQL 18
and 15 and pgbouncer; takes about a minute.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from tests.corpus import scenes_engine, scenes_extended, scenes_simple, scenes_startup, scenes_trouble
from tests.corpus.recording import DIRECTORY, Recording, dump
from tests.corpus.scenes_trouble import Stage
from tests.corpus.wire import Client, Scene
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import PostgresServer

FAMILIES: dict[str, list[Scene]] = {
    "startup": scenes_startup.SCENES,
    "simple": scenes_simple.SCENES,
    "extended": scenes_extended.SCENES,
    "engine": scenes_engine.SCENES,
    "trouble": scenes_trouble.SCENES,
}
POOLERS: dict[str, dict[str, str]] = {
    "bouncer": {},
    "strict bouncer": {"query_timeout": "1", "idle_transaction_timeout": "1"},
    "statement bouncer": {"pool_mode": "statement"},
    "scram bouncer": {"pool_mode": "session", "auth_type": "scram-sha-256"},
    "md5 bouncer": {"pool_mode": "session", "auth_type": "md5"},
    "plain bouncer": {"pool_mode": "session", "auth_type": "plain"},
    "mortal bouncer": {"pool_mode": "session"},
}


class Recorder:
    """The servers, started when a scene first needs them."""

    def __init__(self) -> None:
        self.servers: dict[str, PostgresServer] = {}
        self.poolers: dict[str, PgBouncer] = {}

    def record(self, scene: Scene) -> Recording:
        """Play one scene."""
        place = self._place(scene.server)
        authority = place.tls.ca if isinstance(place, PostgresServer) and place.has_tls else None
        return Client(scene, (place.host, place.port), authority).play()

    def _place(self, name: str) -> PostgresServer | PgBouncer:
        if name in POOLERS:
            Stage.server = self._postgres("18")
            return self._pooler(name)
        Stage.server = self._postgres("15" if name == "15 tls" else name)
        return Stage.server

    def _postgres(self, version: str) -> PostgresServer:
        if version not in self.servers:
            server = PostgresServer(
                "15" if version == "15" else "18",
                settings={"restart_after_crash": "on", "max_wal_senders": "4"},
            )
            self.servers[version] = server
        server = self.servers[version]
        server.start()
        return server

    def _pooler(self, name: str) -> PgBouncer:
        if name not in self.poolers:
            self.poolers[name] = PgBouncer(Stage.server, settings=POOLERS[name])
        pooler = self.poolers[name]
        pooler.start()
        if name == "bouncer":
            Stage.bouncer = pooler
        else:
            Stage.strict = pooler
        return pooler

    def close(self) -> None:
        """Stop all of them."""
        for pooler in self.poolers.values():
            pooler.close()
        for server in self.servers.values():
            server.close()


def main(words: Iterable[str]) -> int:
    """Record the families that were asked for, all of them without a word; how many scenes failed."""
    words = list(words)
    DIRECTORY.mkdir(exist_ok=True)
    recorder = Recorder()
    failures = 0
    try:
        for family, scenes in FAMILIES.items():
            if words and not any(word in family for word in words):
                continue
            recordings = []
            for scene in scenes:
                try:
                    recordings.append(recorder.record(scene))
                except Exception as error:
                    failures += 1
                    print(f"{scene.name}: {error!r}")
            if failures:
                continue
            text = dump(recordings)
            (DIRECTORY / f"{family}.txt").write_text(text, encoding="ascii")
            print(f"{family}: {len(recordings)} sessions, {len(text)} bytes")
    finally:
        recorder.close()
    return failures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
