"""Every type that a server knows, against that server: see `values`, `test_complete` and `__main__`."""
