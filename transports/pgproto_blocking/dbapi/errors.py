"""The exceptions of PEP 249, and which of them an error of pgproto becomes.

Rule: the server's errors go by their SQLSTATE, as in psycopg.  Rule: the error of pgproto is the `__cause__`.
"""

from __future__ import annotations

from typing import Final

from pgproto import errors
from pgproto.errors import Outcome

__all__ = [
    "DataError",
    "DatabaseError",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Warning",
    "translated",
]


class Warning(Exception):
    """PEP 249: an important warning.  It is never raised."""


class Error(Exception):
    """The base class of all errors of this module.

    Attributes:
        sqlstate: the server's SQLSTATE; "" if it sent none.
        outcome: what became of the statement; None if the error ended none.
    """

    sqlstate: str = ""
    outcome: Outcome | None = None

    @property
    def pgcode(self) -> str | None:
        """The SQLSTATE by psycopg2's name; None if there is none."""
        return self.sqlstate or None


class InterfaceError(Error):
    """The call was wrong: a closed connection or cursor, or one that cannot be used so."""


class DatabaseError(Error):
    """The base class of errors that concern the database."""


class DataError(DatabaseError):
    """A value does not fit, or there are too many or too few."""


class OperationalError(DatabaseError):
    """Something that the program does not control: a lost connection, a timeout, no memory."""


class IntegrityError(DatabaseError):
    """A constraint does not hold."""


class InternalError(DatabaseError):
    """The server is in a state that does not allow this, such as a failed transaction."""


class ProgrammingError(DatabaseError):
    """The statement is wrong: its syntax, or a table that is not there; or the call is."""


class NotSupportedError(DatabaseError):
    """The database cannot do this."""


# By the class of the SQLSTATE.  Manual: "PostgreSQL Error Codes".
_BY_CLASS: Final[dict[str, type[Error]]] = {
    "08": OperationalError,
    "0A": NotSupportedError,
    "0B": InternalError,
    "20": ProgrammingError,
    "21": ProgrammingError,
    "22": DataError,
    "23": IntegrityError,
    "24": InternalError,
    "25": InternalError,
    "26": ProgrammingError,
    "27": OperationalError,
    "28": OperationalError,
    "2B": InternalError,
    "2D": InternalError,
    "2F": OperationalError,
    "34": OperationalError,
    "38": OperationalError,
    "39": OperationalError,
    "3B": OperationalError,
    "3D": ProgrammingError,
    "3F": ProgrammingError,
    "40": OperationalError,
    "42": ProgrammingError,
    "44": ProgrammingError,
    "53": OperationalError,
    "54": OperationalError,
    "55": OperationalError,
    "57": OperationalError,
    "58": OperationalError,
    "F0": OperationalError,
    "HV": OperationalError,
    "P0": ProgrammingError,
    "XX": InternalError,
}

# By the class of pgproto's error; the first that fits.
_BY_KIND: Final[list[tuple[type[errors.Error], type[Error]]]] = [
    (errors.DataError, DataError),
    (errors.TransactionAborted, InternalError),
    (errors.ConfigError, InterfaceError),
    (errors.LocalProtocolError, InterfaceError),
]


def kind_of(error: errors.Error) -> type[Error]:
    """The class that PEP 249 has for an error."""
    if isinstance(error, errors.PostgresError):
        return _BY_CLASS.get(error.sqlstate[:2], DatabaseError)
    if isinstance(error, errors.ConnectionClosed) and error.__cause__ is not None:
        return OperationalError  # it was not the program that has closed it
    return next((kind for own, kind in _BY_KIND if isinstance(error, own)), OperationalError)


def translated(error: errors.Error, own: type[Error] | None = None) -> Error:
    """An error of pgproto as one of PEP 249, to be raised from the error.

    Args:
        error: the error.
        own: the class to use in place of `kind_of(error)`.
    """
    made = (own or kind_of(error))(str(error))
    made.sqlstate = getattr(error, "sqlstate", "")
    made.outcome = error.outcome
    made.__cause__ = error
    for note in getattr(error, "__notes__", ()):
        made.add_note(note)
    return made
