"""The documentation site: every page and package is in it, and its checks find faults.

`make docs` builds it, and checks links and names of what it has built.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import pytest

from scripts.site import PACKAGES, Page, broken, documented, missing
from tests.test_exports import PACKAGES as EXPORTING
from tests.test_exports import names_of

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def listed(page: Path) -> list[str]:
    """The pages in the tables of contents of a page."""
    found: list[str] = []
    for body in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.DOTALL):
        lines = [line for line in body.splitlines() if line and not line.startswith(":")]
        found += [re.sub(r".*<(.*)>", r"\1", line) for line in lines]
    return found


def test_every_page_is_in_a_table_of_contents_once() -> None:
    """`docs/conf.py` adds those that are directly in docs."""
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    reached = listed(DOCS / "index.md")
    reached += [f"reference/{name}" for name in listed(DOCS / "reference/index.md")]
    assert len(reached) == len(set(reached))
    assert set(reached) <= pages
    assert {page for page in pages - set(reached) if "/" in page} == set()


def test_every_package_with_public_names_has_a_page() -> None:
    text = "".join(path.read_text() for path in (DOCS / "reference").glob("*.md"))
    assert set(re.findall(r"```\{public\} (\S+)", text)) == set(PACKAGES)
    assert set(EXPORTING) <= set(PACKAGES)


def test_the_examples_are_in_the_pages_that_are_tested() -> None:
    from tests.support.readme import PAGES

    with_code = {path for path in DOCS.rglob("*.md") if "```python" in path.read_text()}
    # What comes before the import of psycopg is tested in processes of its own: tests/psycopg.
    with_code -= {DOCS / "psycopg.md"}
    assert {path.relative_to(ROOT).as_posix() for path in with_code} - set(PAGES) == set()


def test_a_name_that_is_missing_is_found() -> None:
    pytest.importorskip("sqlalchemy")  # the packages are imported
    everything = {f"{package}.{name}" for package in EXPORTING for name in names_of(package)}
    everything |= set(missing(set()))
    assert list(missing(everything)) == []
    assert "pgproto.Batch" in set(missing(set()))
    assert set(missing(everything - {"pgproto.Batch", "pgproto.session.Batch"})) == {
        "pgproto.Batch",
        "pgproto.session.Batch",
    }
    assert list(missing(everything - {"pgproto.Batch"})) == []  # it is documented under the other name


def test_an_inventory_is_read() -> None:
    packed = zlib.compress(b"pgproto.Batch py:class 1 a.html#$ -\npgproto.x py:data 1 b.html#$ -\n")
    assert documented(b"# one\n# two\n# three\n# four\n" + packed) == {"pgproto.Batch", "pgproto.x"}


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ("b.html", None),
        ("b.html#there", None),
        ("#here", None),
        ("https://example.org/x", None),
        ("c.html", "a.html: c.html"),
        ("b.html#nowhere", "a.html: b.html#nowhere: the page has no such place"),
        ("#nowhere", "a.html: #nowhere: the page has no such place"),
    ],
)
def test_a_broken_link_is_found(tmp_path: Path, link: str, fault: str | None) -> None:
    texts = {"a.html": f'<p id="here"><a href="{link}">x</a>', "b.html": '<p id="there">'}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    pages = {(tmp_path / name).resolve(): Page(text) for name, text in texts.items()}
    assert list(broken(pages)) == ([] if fault is None else [fault])
