"""What type checkers infer: checked by mypy and pyright (`make check`), never run."""
