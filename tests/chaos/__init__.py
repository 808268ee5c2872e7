"""Real servers that go away under load, and callers that are cancelled at random moments.

`python -m tests.chaos` kills servers, `python -m tests.chaos.cancellations` cancels callers; both print what
they found and fail if anything contradicts what the callers were told.

    ledger         what callers were told about every id, and the comparison with the table
    load           the clients: every kind of call there is, with unique ids, through one pool
    weather        what happens to servers, poolers and networks, and how it ends
    failover       a primary and its standby, which swap roles
    lag            how late the machine wakes us, which no bar can be held against
    campaign       weather under load: measured, compared, added up
    cancellations  tasks cancelled and timed out at random moments, with tagged rows
"""

from __future__ import annotations
