"""Size: batches and COPY far larger than every buffer on the way, in bounded memory.

Each job of `tests.support.weigh` runs in a process of its own, through a proxy with socket buffers of 4 KiB
on all of its sockets (the adapters' own are as small).  An adapter that only writes while the server can't
go on before its answers are read hangs here; one that collects what it has to pass on fails by its weight.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pgproto_pytest import Driver
from tests.support.drivers import DRIVERS
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy
from tests.support.weigh import BUFFER, MB

ROOT = Path(__file__).parents[2]

# What a job's peak may rise above what its caller holds in the end, in MB; behind it what was measured on
# CPython 3.11 (asyncio, trio, blocking).
OVERHEAD = {
    "statements": 32,  # 11.2, 14.7, 17.5: the encoded values and names of 100,000 items
    "values": 16,  # 0.3, 2.5, 4.1
    "copy_in": 4,  # 0.0, 0.1, 0.2
    "copy_out": 4,  # 0.0, 0.0, 0.2
    "stream": 4,  # 0.0, 0.0, 0.8
}


@pytest.mark.slow
@pytest.mark.parametrize("driver", DRIVERS, ids=repr)
@pytest.mark.parametrize("job", OVERHEAD)
def test_large_jobs_in_bounded_memory(pg18: PostgresServer, driver: Driver, job: str) -> None:
    with Proxy((pg18.host, pg18.port), buffer_size=BUFFER) as proxy:
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.weigh", driver.name, job, pg18.dsn(port=proxy.port)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    weight = json.loads(done.stdout)
    overhead = (weight["growth"] - weight["payload"]) / MB
    print(
        f"{driver} {job}: peak +{weight['growth'] / MB:.1f} MB, of which {weight['payload'] / MB:.1f} MB are"
        f" the caller's; {weight['seconds']:.2f} s"
    )
    assert overhead < OVERHEAD[job], weight
