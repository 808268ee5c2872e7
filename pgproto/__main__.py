"""`python -m pgproto`: the command line.  It does I/O, so it is a package of its own, beside the adapters."""

from __future__ import annotations

if __name__ == "__main__":
    from importlib import import_module

    import_module("pgproto_cli").main()
