"""The tests that come with another library: where they are, and where their results are written."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

__all__ = ["source", "write_results"]


def source(project: str, version: str, folder: Path) -> Path:
    """The unpacked source distribution of a project, which pip fetches once.

    Args:
        project: its name on the package index.
        version: which one.
        folder: where it is unpacked.
    """
    tree = folder / f"{project}-{version}"
    if not tree.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", project]
        subprocess.run([*pip, "--dest", str(folder), f"{project}=={version}"], check=True)
        with tarfile.open(folder / f"{project}-{version}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
    return tree


def write_results(page: Path, begin: str, end: str, lines: list[str]) -> None:
    """Put lines between two markers of a page.

    Raises:
        ValueError: a marker is missing.
    """
    before, found, rest = page.read_text().partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{page.name} has no place for the results: {begin} ... {end}")
    page.write_text("\n".join([before + begin, "", *lines, "", end]) + after)
