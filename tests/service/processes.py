"""The service as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from tests.service.conftest import SERVICE

__all__ = ["bank"]


def bank(dsn: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start `python -m bank`."""
    environment = {
        **os.environ,
        "DATABASE_URL": dsn,
        "PYTHONPATH": os.pathsep.join([str(SERVICE), *sys.path]),
    }
    command = [sys.executable, "-W", "error", "-m", "bank", *arguments]
    return subprocess.Popen(command, env=environment, text=True, **options)
