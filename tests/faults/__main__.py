"""Play the fault matrix, print it, and write docs/fault-matrix.md and docs/fault-matrix.json."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.faults.catalogue import cells
from tests.faults.columns import COLUMNS, OURS
from tests.faults.judge import GOOD, Verdict
from tests.faults.report import JSON, doubtful, read, summary, unstable, write
from tests.faults.run import play_all


def main() -> int:
    """Parse the command line, play, report; 1 if one of our own columns is not all right."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--ours", action="store_true", help="only pgproto's columns; writes nothing")
    parser.add_argument(
        "--column",
        action="append",
        choices=[*COLUMNS],
        help="only these; the others stay in the documents as they are",
    )
    parser.add_argument("--cell", default="", help="only cells with this in their names; writes nothing")
    parser.add_argument("--lanes", type=int, default=5, help="cells of a column at a time")
    parser.add_argument(
        "--verdicts", type=Path, help="take them from the JSON file of another run, and play nothing"
    )
    parser.add_argument(
        "--settle", action="store_true", help="play alone what load may have spoilt; it counts"
    )
    parser.add_argument("--details", action="store_true", help="print what was seen where it is not right")
    options = parser.parse_args()
    columns = options.column or (list(OURS) if options.ours else list(COLUMNS))
    chosen = {name: cell for name, cell in cells().items() if options.cell in name}
    verdicts: dict[str, dict[str, Verdict]] = {column: {} for column in columns}

    def done(column: str, name: str, verdict: Verdict, again: bool) -> None:
        verdicts[column][name] = verdict
        if again and verdict.word in GOOD:
            print(f"{column} {name}: {verdict.word} only when it was played again")

    begin = time.monotonic()
    if options.settle:
        verdicts = read(JSON)
        columns = list(verdicts)
        for column, names in doubtful().items():
            play_all([column], {name: chosen[name] for name in names}, lanes=1, done=done)
    elif options.verdicts:
        verdicts = read(options.verdicts)
        columns = list(verdicts)
    else:
        play_all(columns, chosen, lanes=options.lanes, done=done)
    print(summary(chosen, verdicts))
    if options.details:
        for column, by_cell in verdicts.items():
            for name in chosen:
                if by_cell[name].word not in GOOD:
                    print(column, name, *by_cell[name].details, sep="\n    ")
    print(f"{sum(map(len, verdicts.values()))} plays in {time.monotonic() - begin:.0f} s")
    if not (options.ours or options.cell):
        write(chosen, verdicts, unstable() if options.settle else None)
    ours = [verdict for column in columns if column in OURS for verdict in verdicts[column].values()]
    return int(any(verdict.word not in GOOD for verdict in ours))


if __name__ == "__main__":
    sys.exit(main())
