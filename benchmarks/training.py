"""What the compiled build is trained on: the work whose profile the C compiler is given (see hatch_build.py).

The hot paths of `counted.py`, and the core alone: each type decoded and encoded, messages, a large message
in small segments.  Bytes in memory: no server, no clock, nothing that a build lacks; always the same counts.
What is not run here (starts, pools, ends, errors) is compiled as without a profile.
"""

from __future__ import annotations

from typing import Final

import pgproto

from . import counted
from .drivers import CORE, DRIVERS
from .worker import prepared
from .workloads import workloads

__all__ = ["main"]

_TURNS: Final = 50
_LARGEST: Final = 100  # rows, values, messages and kilobytes of one operation


def main() -> None:
    """Do all of it.

    Raises:
        SystemExit: this is the pure build, and has no profile.
    """
    if pgproto.build != "compiled":
        raise SystemExit("the pure build cannot be trained")
    for name, operation in counted.prepared().items():
        for _ in range(_TURNS * counted.CASES[name].repeat):
            operation()
    driver = DRIVERS[f"{CORE}, {pgproto.build}"]
    core = driver.session()
    for workload in workloads(_LARGEST).values():
        if driver.can(workload.kind):
            operation = prepared(core, workload)
            for _ in range(_TURNS):
                operation()


if __name__ == "__main__":
    main()
