"""The classes of SQLSTATEs: an error whose code has no class of its own is one of these."""

from __future__ import annotations

from ..errors import PostgresError

__all__ = [
    "CardinalityViolation",
    "CaseNotFound",
    "ConfigFileFault",
    "ConnectionException",
    "DataException",
    "DependentPrivilegeDescriptorsStillExist",
    "DiagnosticsException",
    "ExternalRoutineException",
    "ExternalRoutineInvocationException",
    "FeatureNotSupported",
    "ForeignDataWrapperFault",
    "InsufficientResources",
    "IntegrityConstraintViolation",
    "InternalFault",
    "InvalidAuthorizationSpecification",
    "InvalidCatalogName",
    "InvalidCursorName",
    "InvalidCursorState",
    "InvalidGrantor",
    "InvalidRoleSpecification",
    "InvalidSQLStatementName",
    "InvalidSchemaName",
    "InvalidTransactionInitiation",
    "InvalidTransactionState",
    "InvalidTransactionTermination",
    "LocatorException",
    "NoData",
    "ObjectNotInPrerequisiteState",
    "OperatorIntervention",
    "PLpgSQLFault",
    "ProgramLimitExceeded",
    "SQLRoutineException",
    "SQLStatementNotYetComplete",
    "SQLWarning",
    "SavepointException",
    "SnapshotFailure",
    "SyntaxErrorOrAccessRuleViolation",
    "SystemFault",
    "TransactionRollback",
    "TriggeredActionException",
    "TriggeredDataChangeViolation",
    "WithCheckOptionViolation",
    "XQueryFault",
]


class SQLWarning(PostgresError, code="01"):
    """Class 01: warning."""


class NoData(PostgresError, code="02"):
    """Class 02: no_data."""


class SQLStatementNotYetComplete(PostgresError, code="03"):
    """Class 03: sql_statement_not_yet_complete."""


class ConnectionException(PostgresError, code="08"):
    """Class 08: connection_exception."""


class TriggeredActionException(PostgresError, code="09"):
    """Class 09: triggered_action_exception."""


class FeatureNotSupported(PostgresError, code="0A"):
    """Class 0A: feature_not_supported."""


class InvalidTransactionInitiation(PostgresError, code="0B"):
    """Class 0B: invalid_transaction_initiation."""


class LocatorException(PostgresError, code="0F"):
    """Class 0F: locator_exception."""


class InvalidGrantor(PostgresError, code="0L"):
    """Class 0L: invalid_grantor."""


class InvalidRoleSpecification(PostgresError, code="0P"):
    """Class 0P: invalid_role_specification."""


class DiagnosticsException(PostgresError, code="0Z"):
    """Class 0Z: diagnostics_exception."""


class XQueryFault(PostgresError, code="10"):
    """Class 10: xquery_error."""


class CaseNotFound(PostgresError, code="20"):
    """Class 20: case_not_found."""


class CardinalityViolation(PostgresError, code="21"):
    """Class 21: cardinality_violation."""


class DataException(PostgresError, code="22"):
    """Class 22: data_exception."""


class IntegrityConstraintViolation(PostgresError, code="23"):
    """Class 23: integrity_constraint_violation."""


class InvalidCursorState(PostgresError, code="24"):
    """Class 24: invalid_cursor_state."""


class InvalidTransactionState(PostgresError, code="25"):
    """Class 25: invalid_transaction_state."""


class InvalidSQLStatementName(PostgresError, code="26"):
    """Class 26: invalid_sql_statement_name."""


class TriggeredDataChangeViolation(PostgresError, code="27"):
    """Class 27: triggered_data_change_violation."""


class InvalidAuthorizationSpecification(PostgresError, code="28"):
    """Class 28: invalid_authorization_specification."""


class DependentPrivilegeDescriptorsStillExist(PostgresError, code="2B"):
    """Class 2B: dependent_privilege_descriptors_still_exist."""


class InvalidTransactionTermination(PostgresError, code="2D"):
    """Class 2D: invalid_transaction_termination."""


class SQLRoutineException(PostgresError, code="2F"):
    """Class 2F: sql_routine_exception."""


class InvalidCursorName(PostgresError, code="34"):
    """Class 34: invalid_cursor_name."""


class ExternalRoutineException(PostgresError, code="38"):
    """Class 38: external_routine_exception."""


class ExternalRoutineInvocationException(PostgresError, code="39"):
    """Class 39: external_routine_invocation_exception."""


class SavepointException(PostgresError, code="3B"):
    """Class 3B: savepoint_exception."""


class InvalidCatalogName(PostgresError, code="3D"):
    """Class 3D: invalid_catalog_name."""


class InvalidSchemaName(PostgresError, code="3F"):
    """Class 3F: invalid_schema_name."""


class TransactionRollback(PostgresError, code="40"):
    """Class 40: transaction_rollback."""


class SyntaxErrorOrAccessRuleViolation(PostgresError, code="42"):
    """Class 42: syntax_error_or_access_rule_violation."""


class WithCheckOptionViolation(PostgresError, code="44"):
    """Class 44: with_check_option_violation."""


class InsufficientResources(PostgresError, code="53"):
    """Class 53: insufficient_resources."""


class ProgramLimitExceeded(PostgresError, code="54"):
    """Class 54: program_limit_exceeded."""


class ObjectNotInPrerequisiteState(PostgresError, code="55"):
    """Class 55: object_not_in_prerequisite_state."""


class OperatorIntervention(PostgresError, code="57"):
    """Class 57: operator_intervention."""


class SystemFault(PostgresError, code="58"):
    """Class 58: system_error."""


class SnapshotFailure(PostgresError, code="72"):
    """Class 72: snapshot_failure."""


class ConfigFileFault(PostgresError, code="F0"):
    """Class F0: config_file_error."""


class ForeignDataWrapperFault(PostgresError, code="HV"):
    """Class HV: fdw_error."""


class PLpgSQLFault(PostgresError, code="P0"):
    """Class P0: plpgsql_error."""


class InternalFault(PostgresError, code="XX"):
    """Class XX: internal_error."""
