"""The promise where the caller, a second task, a pooler or the last borrower tries to break it.

Each test that holds a row of the list of holes says so: `@pytest.mark.holds("L3")`.  `docs/promise.md` is
made from these marks.
"""
