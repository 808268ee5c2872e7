"""When, where and with which versions it was measured."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pgproto

from .drivers import Driver

__all__ = ["Facts", "circumstances", "sentence"]

Facts = dict[str, str]

_OWN = ("date", "machine", "load", "rounds", "python", "server", "pgproto", "builds")


def circumstances(drivers: Iterable[Driver], server_version: str, rounds: int) -> Facts:
    """The facts, by name; versions of packages by the packages' names."""
    chosen = list(drivers)
    builds = sorted({driver.build for driver in chosen if driver.build})
    facts = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{os.cpu_count()} CPUs, {_cpu_model()}, {platform.system()} {platform.machine()}",
        "load": ", ".join(f"{load:.1f}" for load in os.getloadavg()),
        "rounds": str(rounds),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "server": f"PostgreSQL {server_version} on the loopback",
        "pgproto": pgproto.__version__,
        "builds": " and ".join(builds) or "none",
    }
    for name in sorted({package for driver in chosen for package in driver.packages}):
        facts[name] = metadata.version(name.replace("_", "-"))
    return facts


def sentence(facts: Facts) -> str:
    """The facts as a paragraph."""
    versions = ", ".join(f"{name} {value}" for name, value in facts.items() if name not in _OWN)
    return (
        f"Measured {facts['date']} on a shared machine ({facts['machine']}; load {facts['load']}):"
        f" {facts['python']}, {facts['server']}; pgproto {facts['pgproto']} ({facts['builds']}), {versions}."
        f" {facts['rounds']} interleaved rounds, one process per driver."
    )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown CPU"
