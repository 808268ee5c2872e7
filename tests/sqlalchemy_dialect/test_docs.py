"""The examples of docs/sqlalchemy.md run."""

from __future__ import annotations

import pytest

from tests.support.readme import Block, blocks

URL = '"postgresql+pgproto://app@db/app"'


@pytest.mark.parametrize("block", blocks("sqlalchemy"), ids=str)
def test_programs(block: Block, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert URL in block.source
    source = "\n" * (block.line - 1) + block.source.replace(URL, repr(url))
    exec(compile(source, block.page, "exec", dont_inherit=True), {"__name__": "__main__"})
    assert capsys.readouterr().out
