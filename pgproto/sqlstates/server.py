"""The codes of classes 53 to XX: resources, operators, foreign data wrappers, PL/pgSQL."""

from __future__ import annotations

from .classes import (
    ConfigFileFault,
    ForeignDataWrapperFault,
    InsufficientResources,
    InternalFault,
    ObjectNotInPrerequisiteState,
    OperatorIntervention,
    PLpgSQLFault,
    ProgramLimitExceeded,
    SystemFault,
)

__all__ = [
    "AdminShutdown",
    "AssertFailure",
    "CannotConnectNow",
    "CantChangeRuntimeParam",
    "ConfigurationLimitExceeded",
    "CrashShutdown",
    "DataCorrupted",
    "DatabaseDropped",
    "DiskFull",
    "DuplicateFile",
    "FDWColumnNameNotFound",
    "FDWDynamicParameterValueNeeded",
    "FDWFunctionSequenceFault",
    "FDWInconsistentDescriptorInformation",
    "FDWInvalidAttributeValue",
    "FDWInvalidColumnName",
    "FDWInvalidColumnNumber",
    "FDWInvalidDataType",
    "FDWInvalidDataTypeDescriptors",
    "FDWInvalidDescriptorFieldIdentifier",
    "FDWInvalidHandle",
    "FDWInvalidOptionIndex",
    "FDWInvalidOptionName",
    "FDWInvalidStringFormat",
    "FDWInvalidStringLengthOrBufferLength",
    "FDWInvalidUseOfNullPointer",
    "FDWNoSchemas",
    "FDWOptionNameNotFound",
    "FDWOutOfMemory",
    "FDWReplyHandle",
    "FDWSchemaNotFound",
    "FDWTableNotFound",
    "FDWTooManyHandles",
    "FDWUnableToCreateExecution",
    "FDWUnableToCreateReply",
    "FDWUnableToEstablishConnection",
    "FileNameTooLong",
    "IOFault",
    "IdleSessionTimeout",
    "IndexCorrupted",
    "LockFileExists",
    "LockNotAvailable",
    "NoDataFound",
    "ObjectInUse",
    "OutOfMemory",
    "QueryCanceled",
    "RaiseException",
    "StatementTooComplex",
    "TooManyArguments",
    "TooManyColumns",
    "TooManyConnections",
    "TooManyRows",
    "UndefinedFile",
    "UnsafeNewEnumValueUsage",
]


class DiskFull(InsufficientResources, code="53100"):
    """53100: disk_full."""


class OutOfMemory(InsufficientResources, code="53200"):
    """53200: out_of_memory."""


class TooManyConnections(InsufficientResources, code="53300"):
    """53300: too_many_connections."""


class ConfigurationLimitExceeded(InsufficientResources, code="53400"):
    """53400: configuration_limit_exceeded."""


class StatementTooComplex(ProgramLimitExceeded, code="54001"):
    """54001: statement_too_complex."""


class TooManyColumns(ProgramLimitExceeded, code="54011"):
    """54011: too_many_columns."""


class TooManyArguments(ProgramLimitExceeded, code="54023"):
    """54023: too_many_arguments."""


class ObjectInUse(ObjectNotInPrerequisiteState, code="55006"):
    """55006: object_in_use."""


class CantChangeRuntimeParam(ObjectNotInPrerequisiteState, code="55P02"):
    """55P02: cant_change_runtime_param."""


class LockNotAvailable(ObjectNotInPrerequisiteState, code="55P03"):
    """55P03: lock_not_available."""


class UnsafeNewEnumValueUsage(ObjectNotInPrerequisiteState, code="55P04"):
    """55P04: unsafe_new_enum_value_usage."""


class QueryCanceled(OperatorIntervention, code="57014"):
    """57014: query_canceled."""


class AdminShutdown(OperatorIntervention, code="57P01"):
    """57P01: admin_shutdown."""


class CrashShutdown(OperatorIntervention, code="57P02"):
    """57P02: crash_shutdown."""


class CannotConnectNow(OperatorIntervention, code="57P03"):
    """57P03: cannot_connect_now."""


class DatabaseDropped(OperatorIntervention, code="57P04"):
    """57P04: database_dropped."""


class IdleSessionTimeout(OperatorIntervention, code="57P05"):
    """57P05: idle_session_timeout."""


class IOFault(SystemFault, code="58030"):
    """58030: io_error."""


class UndefinedFile(SystemFault, code="58P01"):
    """58P01: undefined_file."""


class DuplicateFile(SystemFault, code="58P02"):
    """58P02: duplicate_file."""


class FileNameTooLong(SystemFault, code="58P03"):
    """58P03: file_name_too_long."""


class LockFileExists(ConfigFileFault, code="F0001"):
    """F0001: lock_file_exists."""


class FDWOutOfMemory(ForeignDataWrapperFault, code="HV001"):
    """HV001: fdw_out_of_memory."""


class FDWDynamicParameterValueNeeded(ForeignDataWrapperFault, code="HV002"):
    """HV002: fdw_dynamic_parameter_value_needed."""


class FDWInvalidDataType(ForeignDataWrapperFault, code="HV004"):
    """HV004: fdw_invalid_data_type."""


class FDWColumnNameNotFound(ForeignDataWrapperFault, code="HV005"):
    """HV005: fdw_column_name_not_found."""


class FDWInvalidDataTypeDescriptors(ForeignDataWrapperFault, code="HV006"):
    """HV006: fdw_invalid_data_type_descriptors."""


class FDWInvalidColumnName(ForeignDataWrapperFault, code="HV007"):
    """HV007: fdw_invalid_column_name."""


class FDWInvalidColumnNumber(ForeignDataWrapperFault, code="HV008"):
    """HV008: fdw_invalid_column_number."""


class FDWInvalidUseOfNullPointer(ForeignDataWrapperFault, code="HV009"):
    """HV009: fdw_invalid_use_of_null_pointer."""


class FDWInvalidStringFormat(ForeignDataWrapperFault, code="HV00A"):
    """HV00A: fdw_invalid_string_format."""


class FDWInvalidHandle(ForeignDataWrapperFault, code="HV00B"):
    """HV00B: fdw_invalid_handle."""


class FDWInvalidOptionIndex(ForeignDataWrapperFault, code="HV00C"):
    """HV00C: fdw_invalid_option_index."""


class FDWInvalidOptionName(ForeignDataWrapperFault, code="HV00D"):
    """HV00D: fdw_invalid_option_name."""


class FDWOptionNameNotFound(ForeignDataWrapperFault, code="HV00J"):
    """HV00J: fdw_option_name_not_found."""


class FDWReplyHandle(ForeignDataWrapperFault, code="HV00K"):
    """HV00K: fdw_reply_handle."""


class FDWUnableToCreateExecution(ForeignDataWrapperFault, code="HV00L"):
    """HV00L: fdw_unable_to_create_execution."""


class FDWUnableToCreateReply(ForeignDataWrapperFault, code="HV00M"):
    """HV00M: fdw_unable_to_create_reply."""


class FDWUnableToEstablishConnection(ForeignDataWrapperFault, code="HV00N"):
    """HV00N: fdw_unable_to_establish_connection."""


class FDWNoSchemas(ForeignDataWrapperFault, code="HV00P"):
    """HV00P: fdw_no_schemas."""


class FDWSchemaNotFound(ForeignDataWrapperFault, code="HV00Q"):
    """HV00Q: fdw_schema_not_found."""


class FDWTableNotFound(ForeignDataWrapperFault, code="HV00R"):
    """HV00R: fdw_table_not_found."""


class FDWFunctionSequenceFault(ForeignDataWrapperFault, code="HV010"):
    """HV010: fdw_function_sequence_error."""


class FDWTooManyHandles(ForeignDataWrapperFault, code="HV014"):
    """HV014: fdw_too_many_handles."""


class FDWInconsistentDescriptorInformation(ForeignDataWrapperFault, code="HV021"):
    """HV021: fdw_inconsistent_descriptor_information."""


class FDWInvalidAttributeValue(ForeignDataWrapperFault, code="HV024"):
    """HV024: fdw_invalid_attribute_value."""


class FDWInvalidStringLengthOrBufferLength(ForeignDataWrapperFault, code="HV090"):
    """HV090: fdw_invalid_string_length_or_buffer_length."""


class FDWInvalidDescriptorFieldIdentifier(ForeignDataWrapperFault, code="HV091"):
    """HV091: fdw_invalid_descriptor_field_identifier."""


class RaiseException(PLpgSQLFault, code="P0001"):
    """P0001: raise_exception."""


class NoDataFound(PLpgSQLFault, code="P0002"):
    """P0002: no_data_found."""


class TooManyRows(PLpgSQLFault, code="P0003"):
    """P0003: too_many_rows."""


class AssertFailure(PLpgSQLFault, code="P0004"):
    """P0004: assert_failure."""


class DataCorrupted(InternalFault, code="XX001"):
    """XX001: data_corrupted."""


class IndexCorrupted(InternalFault, code="XX002"):
    """XX002: index_corrupted."""
