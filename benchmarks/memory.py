"""A process's memory: what it has now, and the most that it ever had.

Linux keeps both for the process itself.  `ru_maxrss`, which serves elsewhere, begins on Linux with what the
parent had when it started the process, and would hide a growth smaller than that.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Final

__all__ = ["now", "peak"]

_STATUS: Final = Path("/proc/self/status")


def now() -> int:
    """Resident memory in bytes (its peak so far, where the system doesn't say)."""
    return _status("VmRSS")


def peak() -> int:
    """The peak of the resident memory in bytes."""
    return _status("VmHWM")


def _status(name: str) -> int:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024
