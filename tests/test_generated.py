"""The blocking client is the current output of `scripts/blocking.py`."""

from __future__ import annotations

import ast

import pytest

from scripts.blocking import CLIENT, GENERATED, blocking, written


@pytest.mark.parametrize("name", GENERATED)
def test_it_is_up_to_date(name: str) -> None:
    pytest.importorskip("ruff", reason="the text is formatted by it; one interpreter has it")
    file = CLIENT / "blocking" / f"{name}.py"
    assert file.read_text(encoding="utf-8") == written(name), "run: python scripts/blocking.py"


@pytest.mark.parametrize("name", GENERATED)
def test_nothing_in_it_is_asynchronous(name: str) -> None:
    tree = ast.parse((CLIENT / "blocking" / f"{name}.py").read_text(encoding="utf-8"))
    words = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
    assert not [node for node in ast.walk(tree) if isinstance(node, words)]


def test_what_it_makes_of_each_thing() -> None:
    source = '''async def f(self, a: AsyncIterator[int]) -> Awaitable[list[int]]:
    """Texts stay: await, async."""
    async with self as x, y:
        async for z in aiter(a):
            return await g(await h("await"))
    raise StopAsyncIteration
class C:
    def __await__(self): ...
    def g(self, a: int | AsyncIterable[int], b: Coroutine[Any, Any, None]) -> Awaitable[int] | str:
        if isinstance(a, AsyncIterable):
            return 1
        else:
            return "another task", 2 if isinstance(a, AsyncIterable) else 3
    async def i(self, a: Awaitable[str] | str) -> None:
        if isinstance(a, Awaitable):
            a = await a
        b = await self.h(a, "= await x")
def h(a: AsyncIterable[int]) -> None: ...
'''
    assert blocking(source).splitlines() == [
        "def f(self, a: Iterator[int]) -> list[int]:",
        '    """Texts stay: await, async."""',
        "    with self as x, y:",
        "        for z in iter(a):",
        '            return g(h("await"))',
        "    raise StopIteration",
        "class C:",
        "",
        "    def g(self, a: int, b: None) -> str:",
        '        return "another thread", 3',
        "    def i(self, a: str) -> None:",
        '        b = self.h(a, "= x")',
        "",
    ]
