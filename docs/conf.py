"""The documentation site: `make docs` builds it, without a network.

The pages are Markdown (MyST) and can be read without the site as well, so they link to files of the
repository.  The reference is made of the docstrings: `docs/reference` names the packages, and
`scripts/site.py` checks that no public name is missing.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(ROOT / "transports"), str(ROOT / "integrations"), str(HERE / "_extensions")]

project = "pgproto"
author = "The pgproto authors"
copyright = "The pgproto authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "docstrings", "diagrams"]
exclude_patterns = ["_extensions", "_static"]
html_theme = "furo"
html_title = "pgproto"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
pygments_style = "friendly"
pygments_dark_style = "monokai"

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

nitpicky = True
# Of other projects there is nothing to link to without a network; our own names must be there.
nitpick_ignore_regex = [("py:.*", r"(?!pgproto).*")]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 90
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Args of each", "params_style")]
default_role = "code"
linkcheck_ignore = [r"https?://.*"]

# Pages that are files of the repository, and links that lead out of this folder.
FILES = {
    "contributing": "CONTRIBUTING.md",
    "changelog": "CHANGELOG.md",
    "benchmarks/method": "benchmarks/README.md",
}


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Take a page from its file, and let its links lead to pages."""
    folder = HERE / docname
    if docname in FILES:
        folder = ROOT / FILES[docname]
        source[0] = folder.read_text()
    if docname == "index":  # a new page that nobody has put into a table is at the end of the recipes
        pages = sorted(path.stem for path in HERE.glob("*.md") if path.stem != "index")
        others = [name for name in pages if not re.search(rf"^(.*<)?{name}>?$", source[0], re.MULTILINE)]
        source[0] = source[0].replace(
            "\ntesting-your-code\n", "\n".join(["\ntesting-your-code", *others, ""])
        )

    def page(match: re.Match[str]) -> str:
        path = (folder.parent / match[2]).resolve()
        for name, file in FILES.items():
            if path == ROOT / file:
                path = HERE / f"{name}.md"
        if HERE not in path.parents:  # a file that is no page is named
            return f"{match[1]} (`{path.relative_to(ROOT).as_posix()}`)"
        return f"[{match[1]}](/{path.relative_to(HERE).as_posix()}{match[3] or ''})"

    source[0] = re.sub(r"\[([^\]]*)\]\(([\w./-]+\.md)(#[\w-]+)?\)", page, source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect what is above."""
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
