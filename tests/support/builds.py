"""Tests that one build cannot run, and why."""

from __future__ import annotations

import pytest

import pgproto

__all__ = ["pure_only"]


def pure_only(reason: str) -> pytest.MarkDecorator:
    """Mark a test that the compiled build cannot run."""
    return pytest.mark.skipif(pgproto.build == "compiled", reason=reason)
