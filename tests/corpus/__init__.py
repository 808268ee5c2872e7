"""Sessions recorded from real servers, and the tests that replay them; see `recording` and `record`."""
