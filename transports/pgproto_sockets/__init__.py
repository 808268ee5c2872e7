"""The adapters' use of the operating system: environment and files, sockets, forks.

No module here knows the protocol, and only `readiness.wait` and `pause` block.
"""
