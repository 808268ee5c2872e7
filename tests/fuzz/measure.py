"""Running one input under watch: what it raised, how long it took for its size, how much memory it took.

Time is the thread's own CPU time per byte, so that a busy machine does not matter much; a small input
counts as `FLOOR` bytes.  What looks slow is run again, because once is chance.  It is a finding if it takes
more than `SLOW` times the median and grows faster than its length (four times the input, ten times the
time): the median alone would blame what is linear for an input that is no password in ASCII.
"""

from __future__ import annotations

import gc
import resource
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.fuzz.targets import TARGETS

FLOOR: Final = 256
SLOW: Final = 50.0
"""As many times the median time per byte is a finding."""
MEMORY: Final = 64 << 20
"""As many bytes more at the peak, for one input, are a finding."""
_SAMPLES: Final = 4096
ROOT: Final = Path(__file__).parents[2]


@dataclass
class Watch:
    """What was seen of one target so far."""

    target: str
    timed: bool = True
    inputs: int = 0
    findings: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    slowest: float = 0.0
    slowest_input: bytes = b""
    _times: list[float] = field(default_factory=list)
    _median: float = 0.0

    def run(self, data: bytes) -> None:
        """Run one input; nothing is raised, what went wrong is in `findings`."""
        self.inputs += 1
        memory = peak()
        spent = self._once(data)
        if peak() - memory > MEMORY:
            self._found("memory", f"{(peak() - memory) >> 20} MiB more", data)
        if not self.timed:
            return
        if self.inputs <= _SAMPLES or self.inputs % 64 == 0:
            self._times.append(spent)
            if len(self._times) % 512 == 0:
                self._median = sorted(self._times)[len(self._times) // 2]
        if self._median and spent > max(self.slowest, 10.0) * self._median:
            spent = min(spent, *(self._once(data) for _ in range(4)))
            if spent > self.slowest * self._median:
                self.slowest, self.slowest_input = spent / self._median, data
                if self.slowest > SLOW and self._is_superlinear(data):
                    self._found("slow", f"{self.slowest:.0f} times the median time per byte", data)

    def _is_superlinear(self, data: bytes) -> bool:
        longer = data + 3 * (data[5:] or data)
        return min(self._once(longer) for _ in range(3)) > 2.5 * min(self._once(data) for _ in range(3))

    def _once(self, data: bytes) -> float:
        started = time.thread_time()
        try:
            TARGETS[self.target](data)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            self._found(
                f"{type(error).__name__} {Path(where.filename).name}:{where.lineno}",
                traceback.format_exc(),
                data,
            )
        return (time.thread_time() - started) / max(len(data), FLOOR)

    def _found(self, key: str, text: str, data: bytes) -> None:
        known = self.findings.get(key)
        if known is None or len(data) < len(known[1]):
            self.findings[key] = text.replace(f"{ROOT}/", ""), data


def peak() -> int:
    """The largest resident size so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def settle() -> None:
    """Before the first input: the garbage of the imports is not that of the inputs."""
    gc.collect()
    gc.freeze()
