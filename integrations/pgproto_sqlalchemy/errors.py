"""The exceptions of PEP 249 that SQLAlchemy gets: `DBAPIError.orig`.

On SQLAlchemy 2.1 `DBAPIError.driver_exception` is pgproto's own error.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import exc

from pgproto_blocking import dbapi

__all__ = ["ERRORS"]

_Emulated: Final[type[Exception]] = getattr(exc, "EmulatedDBAPIException", Exception)


class _Emulating(_Emulated):  # type: ignore[misc, valid-type]  # the class is there from 2.1 on
    @property
    def driver_exception(self) -> BaseException:
        """The error of pgproto that it was made of."""
        return self.__cause__ or self


def _emulated() -> dict[str, type[Any]]:
    """SQLAlchemy goes by the names of the classes; each is a subclass of the one of `dbapi`."""
    made: dict[str, type[Any]] = {"Error": dbapi.Error, "Warning": dbapi.Warning}
    for name in ("InterfaceError", "DatabaseError", "DataError", "OperationalError", "IntegrityError"):
        made[name] = type(name, (getattr(dbapi, name), _Emulating), {"__module__": __name__})
    for name in ("InternalError", "ProgrammingError", "NotSupportedError"):
        made[name] = type(name, (getattr(dbapi, name), _Emulating), {"__module__": __name__})
    return made


ERRORS: Final = _emulated()
"""By their names in PEP 249."""
