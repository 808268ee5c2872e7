"""Tests of `pgproto_blocking.dbapi`, on a real server.

`dbapi20.txt` is the compliance suite of Stuart Bishop, as psycopg2 2.9.13 has it in its source distribution;
it is in the public domain.  It is a text, and not a module, because it is kept as it came.
"""
