"""The fault matrix: faults x positions x workloads, played over real TCP against pgproto and its peers.

    python -m tests.faults                  # all columns; writes docs/fault-matrix.md and .json
    python -m tests.faults --ours           # the three adapters of pgproto only; writes nothing

A *cell* (`catalogue`) says what a fake PostgreSQL (`server`) does wrong, where, and under which workload.
A *column* (`columns`) is a driver with its settings.  Each cell is played in a process of its own
(`worker`), which is killed at a deadline; the record of what the driver did goes to the judge (`judge`),
who knows what is right; `report` makes the tables.  The rules are written down in docs/fault-matrix.md.
"""

from __future__ import annotations
