"""One target under atheris (libFuzzer).  Arguments: TARGET REPORT INPUTS SECONDS guided|blind CORPUS...

`__main__` starts it.  New inputs that reach new code go into the first corpus directory.  The harness
catches what a target raises and goes on, so that one defect does not hide the next; the report is JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def main(target: str, report: str, inputs: int, seconds: float, guided: bool, corpus: list[str]) -> None:
    """Fuzz until so many inputs or seconds are over.  Does not return."""
    atheris: Any = importlib.import_module("atheris")
    if guided:
        with atheris.instrument_imports(include=["pgproto"]):
            importlib.import_module("tests.fuzz.targets")
    measure = importlib.import_module("tests.fuzz.measure")
    mutator = importlib.import_module("tests.fuzz.mutator")
    limit = importlib.import_module("tests.fuzz.inputs").LIMIT
    watch = measure.Watch(target)
    started = time.monotonic()
    started_cpu = time.process_time()

    def write() -> None:
        result = {
            "inputs": watch.inputs,
            "seconds": time.process_time() - started_cpu,
            "slowest": watch.slowest,
            "slowest_input": watch.slowest_input.hex(),
            "peak": measure.peak(),
            "findings": {key: [text, data.hex()] for key, (text, data) in watch.findings.items()},
        }
        Path(report).write_text(json.dumps(result))

    def one(data: bytes) -> None:
        watch.run(data)
        if watch.inputs % 5000 == 0:
            write()
        if watch.inputs >= inputs or (watch.inputs % 50 == 0 and time.monotonic() - started > seconds):
            write()
            os._exit(0)

    def mutate(data: bytes, size: int, seed: int) -> bytes:
        mutated: bytes = mutator.mutate(target, data, size, seed, atheris.Mutate)
        return mutated

    measure.settle()
    arguments = [
        "fuzz",
        f"-max_len={limit}",
        "-timeout=20",
        "-rss_limit_mb=1024",
        "-verbosity=0",
        "-seed=1",
        *corpus,
    ]
    atheris.Setup(arguments, one, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main(
        sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), sys.argv[5] == "guided", sys.argv[6:]
    )
