"""Tests that one build cannot run, and why."""

from __future__ import annotations

import pytest

import pgproto

__all__ = ["PURE_ONLY", "pure_only"]

PURE_ONLY: set[str] = set()
"""The reasons that tests gave."""


def pure_only(reason: str) -> pytest.MarkDecorator:
    """Mark a test that the compiled build cannot run."""
    PURE_ONLY.add(reason)
    return pytest.mark.skipif(pgproto.build == "compiled", reason=reason)
