"""`python scripts/site.py`: build the documentation site into build/site, and check it.

Sphinx makes it of `docs`; a warning fails the build.  Then it is read again: every link within the site leads
to a page and a place that exist, and every public name is in the reference.  Links that leave the site are
not followed.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

ROOT: Final = Path(__file__).parents[1]
SITE: Final = ROOT / "build" / "site"
PACKAGES: Final = (
    *("pgproto", "pgproto.errors", "pgproto.sqlstates", "pgproto.wire", "pgproto.protocol", "pgproto.types"),
    *("pgproto.columns", "pgproto.session", "pgproto.pool", "pgproto.config", "pgproto.client"),
    *("pgproto.client.blocking", "pgproto.testing", "pgproto_pytest"),
    *("pgproto_asyncio", "pgproto_trio", "pgproto_anyio", "pgproto_blocking", "pgproto_blocking.dbapi"),
    *("pgproto_sqlalchemy", "pgproto_psycopg", "pgproto_otel", "pgproto_cli"),
)


class Page(HTMLParser):
    """The links of a page, and the places that links may lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One tag."""
        for name, value in attrs:
            if value is None:
                continue
            if name == "id":
                self.places.add(value)
            elif name in ("href", "src"):
                self.links.append(value)


def broken(pages: Mapping[Path, Page]) -> Iterator[str]:
    """The links that lead nowhere.

    Args:
        pages: the pages, by file.
    """
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            place = unquote(parts.fragment)
            if not target.exists():
                yield f"{file.name}: {link}"
            elif place and target in pages and place not in pages[target].places:
                yield f"{file.name}: {link}: the page has no such place"


def documented(inventory: bytes) -> set[str]:
    """The names in an inventory of Sphinx (objects.inv): four lines of text, then compressed ones."""
    *_, packed = inventory.split(b"\n", 4)
    lines = zlib.decompress(packed).decode().splitlines()
    return {line.split(" ", 1)[0] for line in lines}


def missing(names: set[str]) -> Iterator[str]:
    """The public names that are not documented: under one of the packages that export them."""
    known: dict[int, bool] = {}
    wanted: list[tuple[str, int]] = []
    for package in PACKAGES:
        module = importlib.import_module(package)
        exported = getattr(module, "__all__", [])
        for name in exported:
            value = getattr(module, name)
            if name.startswith("__") or isinstance(value, type(sys)):
                continue
            full = f"{package}.{name}"
            plain = isinstance(value, int | str | tuple | frozenset | bytes | float)
            key = hash(full) if plain else id(value)
            known[key] = known.get(key, False) or full in names
            wanted.append((full, key))
    yield from (full for full, key in wanted if not known[key])


def main() -> int:
    """Build and check; 1 if something is wrong."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-j", "2", "-b", "html"]
    done = subprocess.run([*command, "docs", str(SITE), *sys.argv[1:]], cwd=ROOT, check=False)
    if done.returncode:
        return done.returncode
    sys.path[:0] = [str(ROOT), str(ROOT / "transports"), str(ROOT / "integrations")]
    pages = {file.resolve(): Page(file.read_text()) for file in SITE.rglob("*.html")}
    wrong = [f"a link leads nowhere: {link}" for link in broken(pages)]
    wrong += [
        f"not in the reference: {name}" for name in missing(documented((SITE / "objects.inv").read_bytes()))
    ]
    print(*wrong, f"{SITE.relative_to(ROOT)}/index.html: {len(pages)} pages", sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
