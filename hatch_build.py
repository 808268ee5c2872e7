"""The build hook that compiles the core with mypyc.

Off by default: a wheel is pure Python (`py3-none-any`) unless HATCH_BUILD_HOOKS_ENABLE=1 asks for this hook.
The source of compiled modules is installed, too; modules that are not compiled are listed here with the
reason.  mypyc runs in a temporary copy and in a process of its own, because setuptools, which drives the C
compiler, would read this project's pyproject.toml, and because mypyc leaves files where it runs.

PGPROTO_PROFILE=1 asks for a profile-guided build, like CPython's own releases: the C compiler, which must be
GCC, profiles `benchmarks/training.py` and then compiles again with that profile.  That takes twice as long,
and makes the code faster (the figures are at the flags).  PGPROTO_OPTIMISE is the C compiler's level, 3 if
nothing is said; a build that is only tested is made much sooner with 1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "pgproto"
INTERPRETED = {  # besides each __init__.py, which has names and one check
    "pgproto/errors.py": "QueryTimeout is a TimeoutError too, and native classes have one base",
    "pgproto/interpreters.py": "says whether what is compiled may be loaded",
    "pgproto/sqlstates": "classes that are made from a table",
    "pgproto/types/bounded.py": "a list, which is no base for a compiled class",
    "pgproto/types/figures.py": "named tuples",
    "pgproto/types/hints.py": "what it defines is there for type checkers alone",
    "pgproto/columns/structs.py": "classes of ctypes",
    "pgproto/columns/release.py": "uses ctypes, and its tests patch it",
    "pgproto/columns/export.py": "uses ctypes, and its tests patch it",
    "pgproto/columns/consume.py": "uses ctypes",
    "pgproto/pool/settings.py": "says what a caller has passed; a compiled signature would convert it first",
    "pgproto/wire/hints.py": "what it defines is there for the interpreter alone",
    "pgproto/client": "bases of the adapters' classes, which are interpreted",
    "pgproto/testing": "for tests, whose speed is the interpreter's",
    "pgproto/config": "runs once for each connection, and is a dataclass",
}
# The modules call each other within one shared object, and nothing outside calls them.  With hidden symbols
# these calls are direct and can be inlined, instead of going through the PLT; -fno-plt does the same for
# calls into the interpreter.  A cached select takes 0.85 of the time without them, a batch of 100 0.86, 100
# rows of pg_type 0.87.
#
# -Wno-all: distutils asks for -Wall, whose warnings say nothing of generated code.  To look for them takes
# GCC four fifths of a compilation without optimisation (600,000 lines of C: 155 s, and 31 s without), and the
# profile needs two.  -g0: the lines of that C are in no wheel, so nobody could use what is said of them.
_FLAGS = ["-fvisibility=hidden", "-fno-plt", "-Wno-all", "-g0"] if sys.platform == "linux" else []
# With a profile, in the same run: 0.81, 0.71 and 0.73.  There are an eighth fewer instructions, and code
# that runs together is placed together, apart from the code for errors.  Code without training is compiled
# as without a profile; the modules' stubs have no profile, which needs no warning.
_COUNT = ["-fprofile-generate"]
_USE = ["-fprofile-use", "-fprofile-partial-training", "-Wno-missing-profile"]
_SETUP = """
from mypyc.build import mypycify
from setuptools import setup
extensions = mypycify({files}, group_name="pgproto", opt_level="{level}")
for extension in extensions:
    extension.extra_compile_args = extension.extra_compile_args + {flags}
    extension.extra_link_args = {flags}
setup(name="pgproto", packages=[], ext_modules=extensions)
"""
_MYPY = """
[mypy]
strict = true
warn_unreachable = true
explicit_package_bases = true
"""


def compiled_files(root: Path) -> list[str]:
    """The modules that are compiled, relative to the project's root."""
    files = sorted(path.relative_to(root).as_posix() for path in (root / PACKAGE).rglob("[!_]*.py"))
    return [file for file in files if not any(file.startswith(part) for part in INTERPRETED)]


class CompiledBuild(BuildHookInterface[Any]):
    """Adds the extension modules to a wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and make the wheel one for this interpreter and platform."""
        if version == "editable":
            return
        root = Path(self.root)
        self.folder = tempfile.mkdtemp()
        place = Path(self.folder)
        shutil.copytree(root / PACKAGE, place / PACKAGE, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        (place / "mypy.ini").write_text(_MYPY)
        if os.environ.get("PGPROTO_PROFILE"):
            self._compile(_COUNT)
            self._run("-m", "benchmarks.training")
            self._compile(_USE)
        else:
            self._compile([])
        for extension in sorted(place.rglob("*.so")) + sorted(place.rglob("*.pyd")):
            name = extension.relative_to(place)
            if name.parts[0] != "build":
                build_data["force_include"][str(extension)] = name.as_posix()
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def _compile(self, flags: list[str]) -> None:
        level = os.environ.get("PGPROTO_OPTIMISE") or "3"
        setup = _SETUP.format(files=compiled_files(Path(self.root)), flags=_FLAGS + flags, level=level)
        Path(self.folder, "setup.py").write_text(setup)
        self._run("setup.py", "-q", "build_ext", "--inplace", "--force")

    def _run(self, *arguments: str) -> None:
        """A Python process in the copy, which comes before the project, with the same hashes every time."""
        path = os.pathsep.join([self.folder, self.root, *sys.path])
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}
        command = [sys.executable, *arguments]
        subprocess.run(command, cwd=self.folder, env=environment, check=True)  # noqa: S603 - our own command

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the copy."""
        if version != "editable":
            shutil.rmtree(self.folder, ignore_errors=True)
