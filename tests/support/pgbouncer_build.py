"""A newer pgbouncer, built from Debian 13's source: `python -m tests.support.pgbouncer_build`.

The source comes by apt from where the system's own packages come from, checked by its keys, without a
change to the system: lists and sources are kept in a directory that goes away.  The binary stays in the
user's cache directory, for all further runs.  It needs libevent-dev, libssl-dev, pkg-config and a C compiler.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["VERSION", "build", "built"]

VERSION = "1.24.1"
_SUITE = "trixie"
_NEEDED = ("libevent-dev", "libssl-dev", "pkg-config")


def built() -> Path | None:
    """The binary, or None if it was not built yet."""
    program = _program()
    return program if program.exists() else None


def build() -> Path:
    """Build the binary, unless it is there.

    Raises:
        RuntimeError: it cannot be had; the text says why.
    """
    program = _program()
    program.parent.mkdir(parents=True, exist_ok=True)
    with open(program.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            with tempfile.TemporaryDirectory(prefix="pgproto-build-") as directory:
                ready = _compile(_source(Path(directory)))
                copy = program.with_suffix(".new")
                shutil.copy2(ready, copy)
                copy.replace(program)
    return program


def _program() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "pgproto" / f"pgbouncer-{VERSION}" / "pgbouncer"


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(f"{command[0]}: {error}") from error
    if done.returncode:
        words = " ".join(map(str, command))
        raise RuntimeError(f"{words}: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def _origin() -> tuple[str, str]:
    """Where apt gets Debian's packages from, and the keys that it checks them with."""
    found = _run("apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)|$(SIGNED_BY)")
    for line in found.splitlines():
        origin, label, uri, keys = line.split("|")
        if (origin, label) == ("Debian", "Debian"):
            return uri, keys
    raise RuntimeError("apt has no lists of Debian's packages: apt-get update")


def _source(directory: Path) -> Path:
    """Fetch and unpack the source; where it is."""
    uri, keys = _origin()
    option = f"[signed-by={keys}] " if keys.startswith("/") else ""
    sources = directory / "sources.list"
    sources.write_text(f"deb-src {option}{uri} {_SUITE} main\n")
    for name in ("lists/partial", "cache/archives/partial", "source"):
        (directory / name).mkdir(parents=True)
    apt = [
        "apt-get",
        *("-o", f"Dir::Etc::sourcelist={sources}", "-o", "Dir::Etc::sourceparts=/dev/null"),
        *("-o", f"Dir::State::lists={directory / 'lists'}", "-o", f"Dir::Cache={directory / 'cache'}"),
        *("-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=5", "-qq"),
    ]
    where = directory / "source"
    _run(*apt, "update")
    _run(*apt, "source", "--download-only", "pgbouncer", cwd=where)
    tarballs = list(where.glob(f"pgbouncer_{VERSION}.orig.tar.*"))
    if not tarballs:
        raise RuntimeError(f"{_SUITE} has another pgbouncer than {VERSION}: {sorted(where.iterdir())}")
    _run("tar", "xf", tarballs[0], "--strip-components=1", cwd=where)
    return where


def _compile(source: Path) -> Path:
    try:
        _run("./configure", "--without-cares", "--without-pam", "--without-systemd", cwd=source)
        _run("make", "-j2", "pgbouncer", cwd=source)
    except RuntimeError as error:
        raise RuntimeError(f"{error}\n(it needs {shlex.join(_NEEDED)} and a C compiler)") from error
    return source / "pgbouncer"


if __name__ == "__main__":
    try:
        print(build())
    except RuntimeError as failure:
        sys.exit(f"pgbouncer {VERSION} cannot be built: {failure}")
