"""What adapters ask of the operating system: environment and files, sockets, forks.

Each module is one question.  None holds protocol, and only `readiness.wait` and `pause` wait.
"""
