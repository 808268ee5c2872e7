"""The server's errors as classes: one for every SQLSTATE class, and one for each code that programs catch.

The names are those of the manual's appendix "PostgreSQL Error Codes" in CamelCase; "Fault" replaces an
"Error" at the end, or a name that Python or pgproto already uses.  A code without a class of its own is
raised as the class of its first two characters, so `except IntegrityConstraintViolation` also catches
codes that later servers add.
"""

from __future__ import annotations

from .errors import PostgresError

__all__ = [
    "AdminShutdown",
    "CannotCoerce",
    "CannotConnectNow",
    "CardinalityViolation",
    "CaseNotFound",
    "CheckViolation",
    "ConfigFileFault",
    "ConnectionDoesNotExist",
    "ConnectionException",
    "ConnectionFailure",
    "CrashShutdown",
    "DataException",
    "DatabaseDropped",
    "DatatypeMismatch",
    "DatetimeFieldOverflow",
    "DeadlockDetected",
    "DependentPrivilegeDescriptorsStillExist",
    "DiagnosticsException",
    "DiskFull",
    "DivisionByZero",
    "DuplicateColumn",
    "DuplicateDatabase",
    "DuplicateObject",
    "DuplicatePreparedStatement",
    "DuplicateSchema",
    "DuplicateTable",
    "ExclusionViolation",
    "ExternalRoutineException",
    "ExternalRoutineInvocationException",
    "FeatureNotSupported",
    "ForeignDataWrapperFault",
    "ForeignKeyViolation",
    "IdleInTransactionSessionTimeout",
    "IdleSessionTimeout",
    "InFailedSQLTransaction",
    "IndeterminateDatatype",
    "InsufficientPrivilege",
    "InsufficientResources",
    "IntegrityConstraintViolation",
    "InternalFault",
    "InvalidAuthorizationSpecification",
    "InvalidBinaryRepresentation",
    "InvalidCatalogName",
    "InvalidCursorName",
    "InvalidCursorState",
    "InvalidDatetimeFormat",
    "InvalidGrantor",
    "InvalidParameterValue",
    "InvalidPassword",
    "InvalidRoleSpecification",
    "InvalidSQLStatementName",
    "InvalidSchemaName",
    "InvalidTextRepresentation",
    "InvalidTransactionInitiation",
    "InvalidTransactionState",
    "InvalidTransactionTermination",
    "LocatorException",
    "LockNotAvailable",
    "NoData",
    "NotNullViolation",
    "NumericValueOutOfRange",
    "ObjectInUse",
    "ObjectNotInPrerequisiteState",
    "OperatorIntervention",
    "OutOfMemory",
    "PLpgSQLFault",
    "ProgramLimitExceeded",
    "ProtocolViolation",
    "QueryCanceled",
    "RaiseException",
    "ReadOnlySQLTransaction",
    "SQLRoutineException",
    "SQLStatementNotYetComplete",
    "SQLSyntaxError",
    "SavepointException",
    "SerializationFailure",
    "StringDataRightTruncation",
    "SyntaxErrorOrAccessRuleViolation",
    "SystemFault",
    "TooManyConnections",
    "TransactionRollback",
    "TransactionTimeout",
    "TriggeredActionException",
    "TriggeredDataChangeViolation",
    "UndefinedColumn",
    "UndefinedFunction",
    "UndefinedObject",
    "UndefinedTable",
    "UniqueViolation",
    "WithCheckOptionViolation",
]


class NoData(PostgresError, code="02"):
    """Class 02: no data."""


class SQLStatementNotYetComplete(PostgresError, code="03"):
    """Class 03: sql statement not yet complete."""


class ConnectionException(PostgresError, code="08"):
    """Class 08: connection exception."""


class TriggeredActionException(PostgresError, code="09"):
    """Class 09: triggered action exception."""


class FeatureNotSupported(PostgresError, code="0A"):
    """Class 0A: feature not supported."""


class InvalidTransactionInitiation(PostgresError, code="0B"):
    """Class 0B: invalid transaction initiation."""


class LocatorException(PostgresError, code="0F"):
    """Class 0F: locator exception."""


class InvalidGrantor(PostgresError, code="0L"):
    """Class 0L: invalid grantor."""


class InvalidRoleSpecification(PostgresError, code="0P"):
    """Class 0P: invalid role specification."""


class DiagnosticsException(PostgresError, code="0Z"):
    """Class 0Z: diagnostics exception."""


class CaseNotFound(PostgresError, code="20"):
    """Class 20: case not found."""


class CardinalityViolation(PostgresError, code="21"):
    """Class 21: cardinality violation."""


class DataException(PostgresError, code="22"):
    """Class 22: data exception."""


class IntegrityConstraintViolation(PostgresError, code="23"):
    """Class 23: integrity constraint violation."""


class InvalidCursorState(PostgresError, code="24"):
    """Class 24: invalid cursor state."""


class InvalidTransactionState(PostgresError, code="25"):
    """Class 25: invalid transaction state."""


class InvalidSQLStatementName(PostgresError, code="26"):
    """Class 26: invalid sql statement name."""


class TriggeredDataChangeViolation(PostgresError, code="27"):
    """Class 27: triggered data change violation."""


class InvalidAuthorizationSpecification(PostgresError, code="28"):
    """Class 28: invalid authorization specification."""


class DependentPrivilegeDescriptorsStillExist(PostgresError, code="2B"):
    """Class 2B: dependent privilege descriptors still exist."""


class InvalidTransactionTermination(PostgresError, code="2D"):
    """Class 2D: invalid transaction termination."""


class SQLRoutineException(PostgresError, code="2F"):
    """Class 2F: sql routine exception."""


class InvalidCursorName(PostgresError, code="34"):
    """Class 34: invalid cursor name."""


class ExternalRoutineException(PostgresError, code="38"):
    """Class 38: external routine exception."""


class ExternalRoutineInvocationException(PostgresError, code="39"):
    """Class 39: external routine invocation exception."""


class SavepointException(PostgresError, code="3B"):
    """Class 3B: savepoint exception."""


class InvalidCatalogName(PostgresError, code="3D"):
    """Class 3D: invalid catalog name."""


class InvalidSchemaName(PostgresError, code="3F"):
    """Class 3F: invalid schema name."""


class TransactionRollback(PostgresError, code="40"):
    """Class 40: transaction rollback."""


class SyntaxErrorOrAccessRuleViolation(PostgresError, code="42"):
    """Class 42: syntax error or access rule violation."""


class WithCheckOptionViolation(PostgresError, code="44"):
    """Class 44: with check option violation."""


class InsufficientResources(PostgresError, code="53"):
    """Class 53: insufficient resources."""


class ProgramLimitExceeded(PostgresError, code="54"):
    """Class 54: program limit exceeded."""


class ObjectNotInPrerequisiteState(PostgresError, code="55"):
    """Class 55: object not in prerequisite state."""


class OperatorIntervention(PostgresError, code="57"):
    """Class 57: operator intervention."""


class SystemFault(PostgresError, code="58"):
    """Class 58: system fault."""


class ConfigFileFault(PostgresError, code="F0"):
    """Class F0: config file fault."""


class ForeignDataWrapperFault(PostgresError, code="HV"):
    """Class HV: foreign data wrapper fault."""


class PLpgSQLFault(PostgresError, code="P0"):
    """Class P0: p lpg sql fault."""


class InternalFault(PostgresError, code="XX"):
    """Class XX: internal fault."""


class ConnectionDoesNotExist(ConnectionException, code="08003"):
    """08003: connection does not exist."""


class ConnectionFailure(ConnectionException, code="08006"):
    """08006: connection failure."""


class ProtocolViolation(ConnectionException, code="08P01"):
    """08P01: protocol violation."""


class StringDataRightTruncation(DataException, code="22001"):
    """22001: string data right truncation."""


class NumericValueOutOfRange(DataException, code="22003"):
    """22003: numeric value out of range."""


class InvalidDatetimeFormat(DataException, code="22007"):
    """22007: invalid datetime format."""


class DatetimeFieldOverflow(DataException, code="22008"):
    """22008: datetime field overflow."""


class DivisionByZero(DataException, code="22012"):
    """22012: division by zero."""


class InvalidParameterValue(DataException, code="22023"):
    """22023: invalid parameter value."""


class InvalidTextRepresentation(DataException, code="22P02"):
    """22P02: invalid text representation."""


class InvalidBinaryRepresentation(DataException, code="22P03"):
    """22P03: invalid binary representation."""


class NotNullViolation(IntegrityConstraintViolation, code="23502"):
    """23502: not null violation."""


class ForeignKeyViolation(IntegrityConstraintViolation, code="23503"):
    """23503: foreign key violation."""


class UniqueViolation(IntegrityConstraintViolation, code="23505"):
    """23505: unique violation."""


class CheckViolation(IntegrityConstraintViolation, code="23514"):
    """23514: check violation."""


class ExclusionViolation(IntegrityConstraintViolation, code="23P01"):
    """23P01: exclusion violation."""


class ReadOnlySQLTransaction(InvalidTransactionState, code="25006"):
    """25006: read only sql transaction."""


class InFailedSQLTransaction(InvalidTransactionState, code="25P02"):
    """25P02: in failed sql transaction."""


class IdleInTransactionSessionTimeout(InvalidTransactionState, code="25P03"):
    """25P03: idle in transaction session timeout."""


class TransactionTimeout(InvalidTransactionState, code="25P04"):
    """25P04: transaction timeout."""


class InvalidPassword(InvalidAuthorizationSpecification, code="28P01"):
    """28P01: invalid password."""


class SerializationFailure(TransactionRollback, code="40001"):
    """40001: serialization failure."""


class DeadlockDetected(TransactionRollback, code="40P01"):
    """40P01: deadlock detected."""


class InsufficientPrivilege(SyntaxErrorOrAccessRuleViolation, code="42501"):
    """42501: insufficient privilege."""


class SQLSyntaxError(SyntaxErrorOrAccessRuleViolation, code="42601"):
    """42601: sql syntax error."""


class DuplicateColumn(SyntaxErrorOrAccessRuleViolation, code="42701"):
    """42701: duplicate column."""


class UndefinedColumn(SyntaxErrorOrAccessRuleViolation, code="42703"):
    """42703: undefined column."""


class UndefinedObject(SyntaxErrorOrAccessRuleViolation, code="42704"):
    """42704: undefined object."""


class DuplicateObject(SyntaxErrorOrAccessRuleViolation, code="42710"):
    """42710: duplicate object."""


class DatatypeMismatch(SyntaxErrorOrAccessRuleViolation, code="42804"):
    """42804: datatype mismatch."""


class CannotCoerce(SyntaxErrorOrAccessRuleViolation, code="42846"):
    """42846: cannot coerce."""


class UndefinedFunction(SyntaxErrorOrAccessRuleViolation, code="42883"):
    """42883: undefined function."""


class UndefinedTable(SyntaxErrorOrAccessRuleViolation, code="42P01"):
    """42P01: undefined table."""


class DuplicateDatabase(SyntaxErrorOrAccessRuleViolation, code="42P04"):
    """42P04: duplicate database."""


class DuplicatePreparedStatement(SyntaxErrorOrAccessRuleViolation, code="42P05"):
    """42P05: duplicate prepared statement."""


class DuplicateSchema(SyntaxErrorOrAccessRuleViolation, code="42P06"):
    """42P06: duplicate schema."""


class DuplicateTable(SyntaxErrorOrAccessRuleViolation, code="42P07"):
    """42P07: duplicate table."""


class IndeterminateDatatype(SyntaxErrorOrAccessRuleViolation, code="42P18"):
    """42P18: indeterminate datatype."""


class DiskFull(InsufficientResources, code="53100"):
    """53100: disk full."""


class OutOfMemory(InsufficientResources, code="53200"):
    """53200: out of memory."""


class TooManyConnections(InsufficientResources, code="53300"):
    """53300: too many connections."""


class ObjectInUse(ObjectNotInPrerequisiteState, code="55006"):
    """55006: object in use."""


class LockNotAvailable(ObjectNotInPrerequisiteState, code="55P03"):
    """55P03: lock not available."""


class QueryCanceled(OperatorIntervention, code="57014"):
    """57014: query canceled."""


class AdminShutdown(OperatorIntervention, code="57P01"):
    """57P01: admin shutdown."""


class CrashShutdown(OperatorIntervention, code="57P02"):
    """57P02: crash shutdown."""


class CannotConnectNow(OperatorIntervention, code="57P03"):
    """57P03: cannot connect now."""


class DatabaseDropped(OperatorIntervention, code="57P04"):
    """57P04: database dropped."""


class IdleSessionTimeout(OperatorIntervention, code="57P05"):
    """57P05: idle session timeout."""


class RaiseException(PLpgSQLFault, code="P0001"):
    """P0001: raise exception."""
