"""The tables of `states`, written down a second time, from the manual.

The exhaustive tests (`test_states`) take what they expect from the tables themselves: they prove that the
code does what the tables say, and not that they are right.  Here each transition stands as text, so that
a change of a table is a decision that is made twice.  Manual: "Message Flow".  B is what the server sends, F
what the client sends.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pgproto.protocol import states
from pgproto.wire import tags

PHASES = """
F START: StartupMessage>STARTUP SSLRequest>ENCRYPTION GSSENCRequest>ENCRYPTION CancelRequest>CANCELLING
F PASSWORD: PasswordMessage>PASSWORD_SENT
F SASL: SASLInitialResponse>SASL_SENT
F SASL_CONTINUE: SASLResponse>SASL_SENT
F GSS: GSSResponse>GSS_SENT
B STARTUP: AuthenticationOk>AUTHENTICATED AuthenticationCleartextPassword>PASSWORD
B STARTUP: AuthenticationMD5Password>PASSWORD AuthenticationSASL>SASL AuthenticationGSS>GSS
B STARTUP: AuthenticationSSPI>GSS AuthenticationKerberosV5>GSS NegotiateProtocolVersion>STARTUP
B PASSWORD_SENT: AuthenticationOk>AUTHENTICATED
B SASL_SENT: AuthenticationSASLContinue>SASL_CONTINUE AuthenticationSASLFinal>SASL_FINAL
B SASL_FINAL: AuthenticationOk>AUTHENTICATED
B GSS_SENT: AuthenticationGSSContinue>GSS AuthenticationOk>AUTHENTICATED
B AUTHENTICATED: BackendKeyData>AUTHENTICATED ReadyForQuery>READY
"""

HEADS = """
B PARSE: ParseComplete>DONE
B BIND: BindComplete>DONE
B DESCRIBE_STATEMENT: ParameterDescription>DESCRIBE_ROWS
B DESCRIBE_ROWS: RowDescription>DONE NoData>DONE
B EXECUTE: DataRow>EXECUTE_ROWS CommandComplete>DONE EmptyQueryResponse>DONE PortalSuspended>DONE
B EXECUTE: CopyInResponse>EXECUTE_COPY_IN CopyOutResponse>EXECUTE_COPY_OUT
B EXECUTE_ROWS: DataRow>EXECUTE_ROWS CommandComplete>DONE PortalSuspended>DONE
B EXECUTE_COPY_IN_DONE: CommandComplete>DONE
B EXECUTE_COPY_OUT: CopyData>EXECUTE_COPY_OUT CopyDone>EXECUTE_COPY_OUT_DONE
B EXECUTE_COPY_OUT_DONE: CommandComplete>DONE
B CLOSE: CloseComplete>DONE
B SYNC: ReadyForQuery>DONE
B QUERY: RowDescription>QUERY_ROWS CommandComplete>QUERY_NEXT EmptyQueryResponse>QUERY_NEXT
B QUERY: CopyInResponse>QUERY_COPY_IN CopyOutResponse>QUERY_COPY_OUT CopyBothResponse>QUERY_COPY_BOTH
B QUERY_NEXT: RowDescription>QUERY_ROWS CommandComplete>QUERY_NEXT EmptyQueryResponse>QUERY_NEXT
B QUERY_NEXT: CopyInResponse>QUERY_COPY_IN CopyOutResponse>QUERY_COPY_OUT
B QUERY_NEXT: CopyBothResponse>QUERY_COPY_BOTH ReadyForQuery>DONE
B QUERY_ROWS: DataRow>QUERY_ROWS CommandComplete>QUERY_NEXT
B QUERY_COPY_IN_DONE: CommandComplete>QUERY_NEXT
B QUERY_COPY_OUT: CopyData>QUERY_COPY_OUT CopyDone>QUERY_COPY_OUT_DONE
B QUERY_COPY_OUT_DONE: CommandComplete>QUERY_NEXT
B QUERY_COPY_BOTH: CopyData>QUERY_COPY_BOTH CopyDone>QUERY_COPY_BOTH_SERVER_DONE
B QUERY_COPY_BOTH_CLIENT_DONE: CopyData>QUERY_COPY_BOTH_CLIENT_DONE CopyDone>QUERY
B QUERY_COPY_BOTH_FAILED: CopyData>QUERY_COPY_BOTH_FAILED CopyDone>QUERY_COPY_IN_FAILED
B FUNCTION_CALL: FunctionCallResponse>END_OF_QUERY
B END_OF_QUERY: ReadyForQuery>DONE
F EXECUTE_COPY_IN: CopyData>EXECUTE_COPY_IN CopyDone>EXECUTE_COPY_IN_DONE
F EXECUTE_COPY_IN: CopyFail>EXECUTE_COPY_IN_FAILED
F QUERY_COPY_IN: CopyData>QUERY_COPY_IN CopyDone>QUERY_COPY_IN_DONE CopyFail>QUERY_COPY_IN_FAILED
F QUERY_COPY_BOTH: CopyData>QUERY_COPY_BOTH CopyDone>QUERY_COPY_BOTH_CLIENT_DONE
F QUERY_COPY_BOTH: CopyFail>QUERY_COPY_BOTH_FAILED
F QUERY_COPY_BOTH_SERVER_DONE: CopyData>QUERY_COPY_BOTH_SERVER_DONE CopyDone>QUERY
F QUERY_COPY_BOTH_SERVER_DONE: CopyFail>QUERY_COPY_IN_FAILED
"""

# Where a request begins: in the state of its own name.
REQUESTS = (
    "Parse>PARSE Bind>BIND Describe>DESCRIBE_STATEMENT Execute>EXECUTE Close>CLOSE Sync>SYNC Query>QUERY"
)
REQUESTS += " FunctionCall>FUNCTION_CALL"


def read(text: str, direction: str) -> dict[str, dict[str, str]]:
    """The lines of one direction as a table of names."""
    table: dict[str, dict[str, str]] = {}
    for line in text.split("\n"):
        state, _, row = line.partition(": ")
        if state.startswith(direction):
            table.setdefault(state[2:], {}).update(dict(each.split(">") for each in row.split()))
    return table


def by_tag(table: Mapping[int, Mapping[int, int]], names: Mapping[int, str]) -> dict[str, dict[str, str]]:
    """A table of heads as names; rows without an entry are left out."""
    return {
        states.HEAD_NAMES[state]: {names[tag]: states.HEAD_NAMES[after] for tag, after in row.items()}
        for state, row in table.items()
        if row
    }


@pytest.mark.parametrize(("direction", "table"), [("F", "FRONTEND_PHASES"), ("B", "BACKEND_PHASES")])
def test_phases(direction: str, table: str) -> None:
    found = {
        states.PHASE_NAMES[phase]: {kind.__name__: states.PHASE_NAMES[after] for kind, after in row.items()}
        for phase, row in getattr(states, table).items()
    }
    assert found == read(PHASES, direction)


def test_answers() -> None:
    expected = read(HEADS, "B")
    assert by_tag(states.ANSWERS, tags.BACKEND_NAMES) == expected
    found = {key: after for key, after in enumerate(states.ANSWER) if after != states.NEVER}
    assert found == {
        state << 8 | tag: after for state, row in states.ANSWERS.items() for tag, after in row.items()
    }


def test_what_the_client_sends_in_copy() -> None:
    expected = read(HEADS, "F")
    assert by_tag(states.COPY_SENDS, tags.FRONTEND_NAMES) == expected
    assert {states.HEAD_NAMES[state] for state in states.COPY_IN_STATES} == set(expected)
    assert {tags.FRONTEND_NAMES[tag] for tag in states.COPY_TAGS} == {"CopyData", "CopyDone", "CopyFail"}


def test_where_a_request_begins() -> None:
    found = {tags.FRONTEND_NAMES[tag]: states.HEAD_NAMES[state] for tag, state in states.FIRST_STATE.items()}
    assert found == dict(each.split(">") for each in REQUESTS.split())


def test_what_is_legal_nearly_everywhere() -> None:
    names = {tags.BACKEND_NAMES[tag] for tag in states.ASYNCHRONOUS}
    assert names == {"NoticeResponse", "NotificationResponse", "ParameterStatus"}
    assert {states.HEAD_NAMES[state] for state in states.NO_ERROR} == {"IDLE", "END_OF_QUERY"}
    silent = {states.PHASE_NAMES[phase] for phase in set(range(states.CLOSED + 1)) - states.MAY_TERMINATE}
    assert silent == {"START", "ENCRYPTION", "SECURING", "CANCELLING", "CLOSED"}


def test_after_an_error_a_query_waits_for_its_end_and_all_else_for_the_next_sync() -> None:
    extended = {"PARSE", "BIND", "CLOSE", "DESCRIBE_STATEMENT", "DESCRIBE_ROWS", "IDLE", "END_OF_QUERY"}
    whole = {
        name for name in states.HEAD_NAMES[:-1] if name not in extended and not name.startswith("EXECUTE")
    }
    assert {states.HEAD_NAMES[state] for state in states.AFTER_ERROR} == whole
    assert set(states.AFTER_ERROR.values()) == {states.END_OF_QUERY}
