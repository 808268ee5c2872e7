"""Server processes for the tests: started unprivileged, bounded in time, never left behind.

Rule: a process is ended by the id that was returned when it was started, and by nothing broader.
Rule: every wait has a deadline, and running into it raises with the tail of the process's log.

A `Daemon` dies with the test run even if that is killed: a guard (one shell, blocked in `read`) holds
the reading end of a pipe, and when our end of it closes without a word, it ends the daemon.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

POLL_SECONDS = 0.005
_ports = random.Random(os.getpid())


class DaemonError(RuntimeError):
    """A server process did not do in time what it was asked for; the text ends with its log."""


def wait_until(condition: Callable[[], bool], timeout: float, what: str) -> None:
    """Return when `condition()` is true; raise DaemonError(what) after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise DaemonError(f"{what}: not within {timeout:g} s")
        time.sleep(POLL_SECONDS)


def listening_socket(port: int = 0) -> socket.socket:
    """A TCP socket listening on 127.0.0.1, on `port` or on a free one below the ephemeral range.

    Ports of the ephemeral range are avoided, because a client that connects again and again to a
    stopped server's port could otherwise get that port as its own and end up connected to itself.
    """
    for attempt in range(200):
        candidate = port or _ports.randrange(12_000, 32_000)
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", candidate))
            listener.listen(256)
        except OSError:
            listener.close()
            if port or attempt == 199:
                raise
        else:
            return listener
    raise AssertionError("unreachable")


def free_port() -> int:
    """A TCP port on which nobody listens right now, outside of the ephemeral range."""
    with listening_socket() as listener:
        port: int = listener.getsockname()[1]
        return port


def unprivileged_user() -> str | None:
    """The user that servers run as when we are root (they refuse to run as root); None otherwise."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            pwd.getpwnam(name)
            return name
    raise DaemonError("running as root, and there is neither a user postgres nor nobody to run a server as")


def owned_directory(prefix: str) -> Path:
    """A fresh temporary directory that belongs to the unprivileged user; the caller removes it.

    In /tmp where that exists: a unix socket's path has to stay below 108 bytes.
    """
    base = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp" if Path("/tmp").is_dir() else None))
    give(base)
    return base


def give(path: Path, mode: int | None = None) -> None:
    """Hand `path` to the unprivileged user (nothing to do when not root), with `mode` if given."""
    if mode is not None:
        path.chmod(mode)
    user = unprivileged_user()
    if user is not None:
        entry = pwd.getpwnam(user)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path,
    timeout: float = 60.0,
    env: Mapping[str, str] | None = None,
    unprivileged: bool = True,
) -> str:
    """Run a command to its end and return its stdout; raise DaemonError with its stderr if it fails."""
    user = unprivileged_user() if unprivileged else None
    done = subprocess.run(
        command,
        cwd=cwd,
        env=_environment(cwd) | dict(env or {}),
        user=user,
        group=pwd.getpwnam(user).pw_gid if user else None,
        extra_groups=[] if user else None,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode != 0:
        raise DaemonError(f"{command[0]} failed ({done.returncode}): {done.stderr.strip()}")
    return done.stdout


def _environment(home: Path) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LC_ALL": "C", "TZ": "UTC"}


class Daemon:
    """One running server process, its log and its guard."""

    def __init__(self, command: Sequence[str | Path], *, cwd: Path, log: Path) -> None:
        user = unprivileged_user()
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=cwd,
                env=_environment(cwd),
                user=user,
                group=pwd.getpwnam(user).pw_gid if user else None,
                extra_groups=[] if user else None,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", 'read _ || kill -QUIT "$0"', str(self.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def running(self) -> bool:
        """True until the process has ended."""
        return self._process.poll() is None

    def wait_ready(self, ready: Callable[[], bool], timeout: float) -> None:
        """Wait for `ready()`; raise at once if the process ends instead."""
        try:
            wait_until(lambda: not self.running or ready(), timeout, f"{self._process.args!r} ready")
        except DaemonError as error:
            raise DaemonError(f"{error}\n{log_tail(self.log)}") from None
        if not self.running:
            raise DaemonError(f"{self._process.args!r} ended at its start\n{log_tail(self.log)}")

    def end(self, how: signal.Signals, timeout: float) -> None:
        """Send one signal, wait for the end; SIGKILL and DaemonError if it doesn't come in time."""
        try:
            if self.running:
                self._process.send_signal(how)
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout)
            raise DaemonError(f"{how.name} did not end it in {timeout:g} s\n{log_tail(self.log)}") from None
        finally:
            self._dismiss_guard()

    def _dismiss_guard(self) -> None:
        if self._guard.poll() is None:
            self._guard.communicate(b"\n", timeout=10)


def log_tail(log: Path, size: int = 6000) -> str:
    """The last `size` characters of a log file."""
    return f"--- {log.name} ---\n" + log.read_text(errors="replace")[-size:] if log.exists() else "(no log)"


def children(pid: int) -> set[int]:
    """The ids of the processes whose parent is `pid`."""
    return {child for child, (parent, _) in _processes().items() if parent == pid}


def wait_gone(pids: Iterable[int], timeout: float) -> None:
    """Wait until none of the processes runs any more (one that waits to be reaped does not run)."""
    wanted = set(pids)
    wait_until(lambda: not running(wanted), timeout, f"end of the processes {sorted(wanted)}")


def running(pids: Iterable[int]) -> set[int]:
    """Those of the processes that run; one that waits to be reaped does not."""
    table = _processes()
    return {pid for pid in pids if pid in table and table[pid][1] != "Z"}


def _processes() -> dict[int, tuple[int, str]]:
    """Every process: its parent's id and its state, from /proc or, where there is none, from ps."""
    table: dict[int, tuple[int, str]] = {}
    if Path("/proc/self/stat").exists():
        for entry in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError, ValueError):
                text = entry.read_text(errors="replace")
                state, parent = text[text.rindex(")") + 2 :].split(maxsplit=2)[:2]
                table[int(entry.parent.name)] = (int(parent), state)
    else:
        for line in run(["ps", "-A", "-o", "pid=,ppid=,stat="], cwd=Path("/")).splitlines():
            pid, parent, state = line.split(maxsplit=2)
            table[int(pid)] = (int(parent), state[0])
    return table
