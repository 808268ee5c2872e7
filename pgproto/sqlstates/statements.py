"""The codes of classes 01 to 21 and 23 to 44: warnings, constraints, transactions, statements."""

from __future__ import annotations

from .classes import (
    ConnectionException,
    DependentPrivilegeDescriptorsStillExist,
    DiagnosticsException,
    ExternalRoutineException,
    ExternalRoutineInvocationException,
    IntegrityConstraintViolation,
    InvalidAuthorizationSpecification,
    InvalidGrantor,
    InvalidTransactionState,
    LocatorException,
    NoData,
    SavepointException,
    SQLRoutineException,
    SQLWarning,
    SyntaxErrorOrAccessRuleViolation,
    TransactionRollback,
    XQueryFault,
)

__all__ = [
    "ActiveSQLTransaction",
    "AmbiguousAlias",
    "AmbiguousColumn",
    "AmbiguousFunction",
    "AmbiguousParameter",
    "BranchTransactionAlreadyActive",
    "CannotCoerce",
    "CheckViolation",
    "CollationMismatch",
    "ConnectionDoesNotExist",
    "ConnectionFailure",
    "ContainingSQLNotPermitted",
    "DatatypeMismatch",
    "DeadlockDetected",
    "DependentObjectsStillExist",
    "DeprecatedFeature",
    "DuplicateAlias",
    "DuplicateColumn",
    "DuplicateCursor",
    "DuplicateDatabase",
    "DuplicateFunction",
    "DuplicateObject",
    "DuplicatePreparedStatement",
    "DuplicateSchema",
    "DuplicateTable",
    "DynamicResultSetsReturned",
    "EventTriggerProtocolViolated",
    "ExclusionViolation",
    "ExternalRoutineExceptionModifyingSQLDataNotPermitted",
    "ExternalRoutineExceptionProhibitedSQLStatementAttempted",
    "ExternalRoutineExceptionReadingSQLDataNotPermitted",
    "ExternalRoutineInvocationExceptionNullValueNotAllowed",
    "ForeignKeyViolation",
    "FunctionExecutedNoReturnStatement",
    "GeneratedAlways",
    "GroupingFault",
    "HeldCursorRequiresSameIsolationLevel",
    "IdleInTransactionSessionTimeout",
    "ImplicitZeroBitPadding",
    "InFailedSQLTransaction",
    "InappropriateAccessModeForBranchTransaction",
    "InappropriateIsolationLevelForBranchTransaction",
    "IndeterminateCollation",
    "IndeterminateDatatype",
    "InsufficientPrivilege",
    "InvalidArgumentForXQuery",
    "InvalidColumnDefinition",
    "InvalidColumnReference",
    "InvalidCursorDefinition",
    "InvalidDatabaseDefinition",
    "InvalidForeignKey",
    "InvalidFunctionDefinition",
    "InvalidGrantOperation",
    "InvalidLocatorSpecification",
    "InvalidName",
    "InvalidObjectDefinition",
    "InvalidPassword",
    "InvalidPreparedStatementDefinition",
    "InvalidRecursion",
    "InvalidSavepointSpecification",
    "InvalidSchemaDefinition",
    "InvalidSqlstateReturned",
    "InvalidTableDefinition",
    "ModifyingSQLDataNotPermitted",
    "NameTooLong",
    "NoActiveSQLTransaction",
    "NoActiveSQLTransactionForBranchTransaction",
    "NoAdditionalDynamicResultSetsReturned",
    "NotNullViolation",
    "NullValueEliminatedInSetFunction",
    "PrivilegeNotGranted",
    "PrivilegeNotRevoked",
    "ProhibitedSQLStatementAttempted",
    "ProtocolViolation",
    "ReadOnlySQLTransaction",
    "ReadingSQLDataNotPermitted",
    "ReservedName",
    "RestrictViolation",
    "SQLClientUnableToEstablishSQLConnection",
    "SQLServerRejectedEstablishmentOfSQLConnection",
    "SQLSyntaxError",
    "SQLWarningStringDataRightTruncation",
    "SRFProtocolViolated",
    "SchemaAndDataStatementMixingNotSupported",
    "SerializationFailure",
    "StackedDiagnosticsAccessedWithoutActiveHandler",
    "StatementCompletionUnknown",
    "TransactionIntegrityConstraintViolation",
    "TransactionResolutionUnknown",
    "TransactionTimeout",
    "TriggerProtocolViolated",
    "UndefinedColumn",
    "UndefinedFunction",
    "UndefinedObject",
    "UndefinedParameter",
    "UndefinedTable",
    "UniqueViolation",
    "WindowingFault",
    "WrongObjectType",
]


class NullValueEliminatedInSetFunction(SQLWarning, code="01003"):
    """01003: null_value_eliminated_in_set_function."""


class SQLWarningStringDataRightTruncation(SQLWarning, code="01004"):
    """01004: string_data_right_truncation."""


class PrivilegeNotRevoked(SQLWarning, code="01006"):
    """01006: privilege_not_revoked."""


class PrivilegeNotGranted(SQLWarning, code="01007"):
    """01007: privilege_not_granted."""


class ImplicitZeroBitPadding(SQLWarning, code="01008"):
    """01008: implicit_zero_bit_padding."""


class DynamicResultSetsReturned(SQLWarning, code="0100C"):
    """0100C: dynamic_result_sets_returned."""


class DeprecatedFeature(SQLWarning, code="01P01"):
    """01P01: deprecated_feature."""


class NoAdditionalDynamicResultSetsReturned(NoData, code="02001"):
    """02001: no_additional_dynamic_result_sets_returned."""


class SQLClientUnableToEstablishSQLConnection(ConnectionException, code="08001"):
    """08001: sqlclient_unable_to_establish_sqlconnection."""


class ConnectionDoesNotExist(ConnectionException, code="08003"):
    """08003: connection_does_not_exist."""


class SQLServerRejectedEstablishmentOfSQLConnection(ConnectionException, code="08004"):
    """08004: sqlserver_rejected_establishment_of_sqlconnection."""


class ConnectionFailure(ConnectionException, code="08006"):
    """08006: connection_failure."""


class TransactionResolutionUnknown(ConnectionException, code="08007"):
    """08007: transaction_resolution_unknown."""


class ProtocolViolation(ConnectionException, code="08P01"):
    """08P01: protocol_violation."""


class InvalidLocatorSpecification(LocatorException, code="0F001"):
    """0F001: invalid_locator_specification."""


class InvalidGrantOperation(InvalidGrantor, code="0LP01"):
    """0LP01: invalid_grant_operation."""


class StackedDiagnosticsAccessedWithoutActiveHandler(DiagnosticsException, code="0Z002"):
    """0Z002: stacked_diagnostics_accessed_without_active_handler."""


class InvalidArgumentForXQuery(XQueryFault, code="10608"):
    """10608: invalid_argument_for_xquery."""


class RestrictViolation(IntegrityConstraintViolation, code="23001"):
    """23001: restrict_violation."""


class NotNullViolation(IntegrityConstraintViolation, code="23502"):
    """23502: not_null_violation."""


class ForeignKeyViolation(IntegrityConstraintViolation, code="23503"):
    """23503: foreign_key_violation."""


class UniqueViolation(IntegrityConstraintViolation, code="23505"):
    """23505: unique_violation."""


class CheckViolation(IntegrityConstraintViolation, code="23514"):
    """23514: check_violation."""


class ExclusionViolation(IntegrityConstraintViolation, code="23P01"):
    """23P01: exclusion_violation."""


class ActiveSQLTransaction(InvalidTransactionState, code="25001"):
    """25001: active_sql_transaction."""


class BranchTransactionAlreadyActive(InvalidTransactionState, code="25002"):
    """25002: branch_transaction_already_active."""


class InappropriateAccessModeForBranchTransaction(InvalidTransactionState, code="25003"):
    """25003: inappropriate_access_mode_for_branch_transaction."""


class InappropriateIsolationLevelForBranchTransaction(InvalidTransactionState, code="25004"):
    """25004: inappropriate_isolation_level_for_branch_transaction."""


class NoActiveSQLTransactionForBranchTransaction(InvalidTransactionState, code="25005"):
    """25005: no_active_sql_transaction_for_branch_transaction."""


class ReadOnlySQLTransaction(InvalidTransactionState, code="25006"):
    """25006: read_only_sql_transaction."""


class SchemaAndDataStatementMixingNotSupported(InvalidTransactionState, code="25007"):
    """25007: schema_and_data_statement_mixing_not_supported."""


class HeldCursorRequiresSameIsolationLevel(InvalidTransactionState, code="25008"):
    """25008: held_cursor_requires_same_isolation_level."""


class NoActiveSQLTransaction(InvalidTransactionState, code="25P01"):
    """25P01: no_active_sql_transaction."""


class InFailedSQLTransaction(InvalidTransactionState, code="25P02"):
    """25P02: in_failed_sql_transaction."""


class IdleInTransactionSessionTimeout(InvalidTransactionState, code="25P03"):
    """25P03: idle_in_transaction_session_timeout."""


class TransactionTimeout(InvalidTransactionState, code="25P04"):
    """25P04: transaction_timeout."""


class InvalidPassword(InvalidAuthorizationSpecification, code="28P01"):
    """28P01: invalid_password."""


class DependentObjectsStillExist(DependentPrivilegeDescriptorsStillExist, code="2BP01"):
    """2BP01: dependent_objects_still_exist."""


class ModifyingSQLDataNotPermitted(SQLRoutineException, code="2F002"):
    """2F002: modifying_sql_data_not_permitted."""


class ProhibitedSQLStatementAttempted(SQLRoutineException, code="2F003"):
    """2F003: prohibited_sql_statement_attempted."""


class ReadingSQLDataNotPermitted(SQLRoutineException, code="2F004"):
    """2F004: reading_sql_data_not_permitted."""


class FunctionExecutedNoReturnStatement(SQLRoutineException, code="2F005"):
    """2F005: function_executed_no_return_statement."""


class ContainingSQLNotPermitted(ExternalRoutineException, code="38001"):
    """38001: containing_sql_not_permitted."""


class ExternalRoutineExceptionModifyingSQLDataNotPermitted(ExternalRoutineException, code="38002"):
    """38002: modifying_sql_data_not_permitted."""


class ExternalRoutineExceptionProhibitedSQLStatementAttempted(ExternalRoutineException, code="38003"):
    """38003: prohibited_sql_statement_attempted."""


class ExternalRoutineExceptionReadingSQLDataNotPermitted(ExternalRoutineException, code="38004"):
    """38004: reading_sql_data_not_permitted."""


class InvalidSqlstateReturned(ExternalRoutineInvocationException, code="39001"):
    """39001: invalid_sqlstate_returned."""


class ExternalRoutineInvocationExceptionNullValueNotAllowed(ExternalRoutineInvocationException, code="39004"):
    """39004: null_value_not_allowed."""


class TriggerProtocolViolated(ExternalRoutineInvocationException, code="39P01"):
    """39P01: trigger_protocol_violated."""


class SRFProtocolViolated(ExternalRoutineInvocationException, code="39P02"):
    """39P02: srf_protocol_violated."""


class EventTriggerProtocolViolated(ExternalRoutineInvocationException, code="39P03"):
    """39P03: event_trigger_protocol_violated."""


class InvalidSavepointSpecification(SavepointException, code="3B001"):
    """3B001: invalid_savepoint_specification."""


class SerializationFailure(TransactionRollback, code="40001"):
    """40001: serialization_failure."""


class TransactionIntegrityConstraintViolation(TransactionRollback, code="40002"):
    """40002: transaction_integrity_constraint_violation."""


class StatementCompletionUnknown(TransactionRollback, code="40003"):
    """40003: statement_completion_unknown."""


class DeadlockDetected(TransactionRollback, code="40P01"):
    """40P01: deadlock_detected."""


class InsufficientPrivilege(SyntaxErrorOrAccessRuleViolation, code="42501"):
    """42501: insufficient_privilege."""


class SQLSyntaxError(SyntaxErrorOrAccessRuleViolation, code="42601"):
    """42601: syntax_error."""


class InvalidName(SyntaxErrorOrAccessRuleViolation, code="42602"):
    """42602: invalid_name."""


class InvalidColumnDefinition(SyntaxErrorOrAccessRuleViolation, code="42611"):
    """42611: invalid_column_definition."""


class NameTooLong(SyntaxErrorOrAccessRuleViolation, code="42622"):
    """42622: name_too_long."""


class DuplicateColumn(SyntaxErrorOrAccessRuleViolation, code="42701"):
    """42701: duplicate_column."""


class AmbiguousColumn(SyntaxErrorOrAccessRuleViolation, code="42702"):
    """42702: ambiguous_column."""


class UndefinedColumn(SyntaxErrorOrAccessRuleViolation, code="42703"):
    """42703: undefined_column."""


class UndefinedObject(SyntaxErrorOrAccessRuleViolation, code="42704"):
    """42704: undefined_object."""


class DuplicateObject(SyntaxErrorOrAccessRuleViolation, code="42710"):
    """42710: duplicate_object."""


class DuplicateAlias(SyntaxErrorOrAccessRuleViolation, code="42712"):
    """42712: duplicate_alias."""


class DuplicateFunction(SyntaxErrorOrAccessRuleViolation, code="42723"):
    """42723: duplicate_function."""


class AmbiguousFunction(SyntaxErrorOrAccessRuleViolation, code="42725"):
    """42725: ambiguous_function."""


class GroupingFault(SyntaxErrorOrAccessRuleViolation, code="42803"):
    """42803: grouping_error."""


class DatatypeMismatch(SyntaxErrorOrAccessRuleViolation, code="42804"):
    """42804: datatype_mismatch."""


class WrongObjectType(SyntaxErrorOrAccessRuleViolation, code="42809"):
    """42809: wrong_object_type."""


class InvalidForeignKey(SyntaxErrorOrAccessRuleViolation, code="42830"):
    """42830: invalid_foreign_key."""


class CannotCoerce(SyntaxErrorOrAccessRuleViolation, code="42846"):
    """42846: cannot_coerce."""


class UndefinedFunction(SyntaxErrorOrAccessRuleViolation, code="42883"):
    """42883: undefined_function."""


class GeneratedAlways(SyntaxErrorOrAccessRuleViolation, code="428C9"):
    """428C9: generated_always."""


class ReservedName(SyntaxErrorOrAccessRuleViolation, code="42939"):
    """42939: reserved_name."""


class UndefinedTable(SyntaxErrorOrAccessRuleViolation, code="42P01"):
    """42P01: undefined_table."""


class UndefinedParameter(SyntaxErrorOrAccessRuleViolation, code="42P02"):
    """42P02: undefined_parameter."""


class DuplicateCursor(SyntaxErrorOrAccessRuleViolation, code="42P03"):
    """42P03: duplicate_cursor."""


class DuplicateDatabase(SyntaxErrorOrAccessRuleViolation, code="42P04"):
    """42P04: duplicate_database."""


class DuplicatePreparedStatement(SyntaxErrorOrAccessRuleViolation, code="42P05"):
    """42P05: duplicate_prepared_statement."""


class DuplicateSchema(SyntaxErrorOrAccessRuleViolation, code="42P06"):
    """42P06: duplicate_schema."""


class DuplicateTable(SyntaxErrorOrAccessRuleViolation, code="42P07"):
    """42P07: duplicate_table."""


class AmbiguousParameter(SyntaxErrorOrAccessRuleViolation, code="42P08"):
    """42P08: ambiguous_parameter."""


class AmbiguousAlias(SyntaxErrorOrAccessRuleViolation, code="42P09"):
    """42P09: ambiguous_alias."""


class InvalidColumnReference(SyntaxErrorOrAccessRuleViolation, code="42P10"):
    """42P10: invalid_column_reference."""


class InvalidCursorDefinition(SyntaxErrorOrAccessRuleViolation, code="42P11"):
    """42P11: invalid_cursor_definition."""


class InvalidDatabaseDefinition(SyntaxErrorOrAccessRuleViolation, code="42P12"):
    """42P12: invalid_database_definition."""


class InvalidFunctionDefinition(SyntaxErrorOrAccessRuleViolation, code="42P13"):
    """42P13: invalid_function_definition."""


class InvalidPreparedStatementDefinition(SyntaxErrorOrAccessRuleViolation, code="42P14"):
    """42P14: invalid_prepared_statement_definition."""


class InvalidSchemaDefinition(SyntaxErrorOrAccessRuleViolation, code="42P15"):
    """42P15: invalid_schema_definition."""


class InvalidTableDefinition(SyntaxErrorOrAccessRuleViolation, code="42P16"):
    """42P16: invalid_table_definition."""


class InvalidObjectDefinition(SyntaxErrorOrAccessRuleViolation, code="42P17"):
    """42P17: invalid_object_definition."""


class IndeterminateDatatype(SyntaxErrorOrAccessRuleViolation, code="42P18"):
    """42P18: indeterminate_datatype."""


class InvalidRecursion(SyntaxErrorOrAccessRuleViolation, code="42P19"):
    """42P19: invalid_recursion."""


class WindowingFault(SyntaxErrorOrAccessRuleViolation, code="42P20"):
    """42P20: windowing_error."""


class CollationMismatch(SyntaxErrorOrAccessRuleViolation, code="42P21"):
    """42P21: collation_mismatch."""


class IndeterminateCollation(SyntaxErrorOrAccessRuleViolation, code="42P22"):
    """42P22: indeterminate_collation."""
