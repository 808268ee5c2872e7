"""`make bench`: pgproto beside its peers and beside the raw socket, in one run.  See README.md here."""

from __future__ import annotations
