"""The README says what is so: its code compiles, its tables are those of the code, its links lead somewhere.

Its examples run in tests/postgres/test_readme_examples.py.
"""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.drivers import DRIVERS, FLOOR, Driver
from benchmarks.measure import Series
from benchmarks.workloads import WORKLOADS
from pgproto import Outcome, errors
from pgproto.pool import PoolSettings
from tests.support.readme import KINDS, README, ROOT, blocks, table


def test_every_python_block_says_how_it_is_run_and_compiles() -> None:
    found = blocks()
    assert len(found) == README.count("```python") > 10
    assert [str(block) for block in found if block.kind not in KINDS] == []
    assert {block.kind for block in found} == KINDS
    for block in found:
        compile(block.source, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_table_of_outcomes_is_that_of_the_code() -> None:
    rows = {row[0]: row[2] for row in table("outcome")}
    assert list(rows) == [outcome.name for outcome in Outcome]
    assert {name for name, safe in rows.items() if safe == "yes"} == {
        outcome.name for outcome in Outcome if outcome.safe_to_retry
    }


def test_the_table_of_pool_settings_has_all_of_them_with_their_defaults() -> None:
    settings = PoolSettings()
    rows = {row[0]: row[1] for row in table("setting")}
    assert rows == {name: str(getattr(settings, name)) for name in inspect.signature(PoolSettings).parameters}


def test_the_tree_of_errors_is_that_of_the_code() -> None:
    def branches(text: str) -> list[str]:
        return re.findall(r"[├└│].*", text)

    assert branches(README) == branches(errors.__doc__ or "")
    assert len(branches(README)) > 10


def test_the_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    commands = set(re.findall(r"\bmake (\w+)", README))
    assert {"demo", "test", "bench"} <= commands
    assert [name for name in commands if f"\n{name}:" not in makefile] == []


def test_the_extras_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = set(re.findall(r"pip install '\.\[(\w+)\]'", README))
    assert extras
    assert extras <= set(project["optional-dependencies"])


@pytest.mark.parametrize("page", ["README.md", "benchmarks/README.md"])
def test_local_links_lead_to_files(page: str) -> None:
    path = ROOT / page
    links = re.findall(r"\]\(([^)#:]+)\)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_files_that_are_named_exist() -> None:
    names = re.findall(r"`((?:transports|benchmarks|tests|pgproto)/[\w./]+\.\w+)`", README)
    assert names
    assert [name for name in names if not (ROOT / name).is_file()] == []


# ---- The place for the benchmark's tables


def test_the_benchmark_finds_its_place_in_the_readme(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(README)
    report.write_readme(page, "FIGURES")
    text = page.read_text()
    before, _, after = text.partition("FIGURES")
    assert before.endswith(f"{report.BEGIN}\n\n")
    assert after.startswith(f"\n\n{report.END}")
    assert README.startswith(before)
    assert README.endswith(after)
    report.write_readme(page, "FIGURES")
    assert page.read_text() == text


def test_a_readme_without_the_place_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"text {report.BEGIN} text")
    with pytest.raises(ValueError, match="no place"):
        report.write_readme(page, "FIGURES")


def _series(name: str, *rounds: list[float]) -> Series:
    driver = DRIVERS[FLOOR] if name == FLOOR else Driver(name, "", "batch", object)
    series = Series(driver)
    for one in rounds:
        series.add(one, sum(one) / 2)
    return series


def test_ratios_are_made_within_a_round() -> None:
    # The machine was ten times slower in the second round: that is nobody's merit.
    floor = _series(FLOOR, [1.0, 1.0], [10.0, 10.0], [1.0, 1.0])
    ours = _series("pgproto x", [2.0, 2.0], [20.0, 20.0], [3.0, 3.0])
    assert ours.ratio_to(floor) == 2.0
    assert ours.median == 3.0
    assert ours.fastest == 2.0
    assert ours.cpu_median == 1.5


def test_the_tables_have_a_line_for_each_driver_and_a_ratio_to_each_peer() -> None:
    name = next(iter(WORKLOADS))
    series = [
        _series(FLOOR, [0.001, 0.001, 0.001]),
        _series("pgproto x", [0.002, 0.002, 0.002]),
        _series("peer", [0.008, 0.008, 0.008]),
    ]
    facts = report.circumstances([one.driver for one in series], "18.6", 1)
    markdown = report.as_markdown({name: series}, facts)
    assert "| pgproto x | 2.00 | 2.00 to 2.00 | 2.00 | 1.00 | 2.0 |" in markdown
    assert "| peer | 4.0 |" in markdown
    assert "peer" in report.as_text({name: series}, facts)
    assert '"median_seconds": 0.008' in report.as_json({name: series}, facts)
