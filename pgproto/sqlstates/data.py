"""The codes of class 22, data exceptions."""

from __future__ import annotations

from .classes import DataException

__all__ = [
    "ArraySubscriptFault",
    "BadCopyFileFormat",
    "CharacterNotInRepertoire",
    "DatetimeFieldOverflow",
    "DatumVersionMismatch",
    "DivisionByZero",
    "DuplicateJSONObjectKeyValue",
    "ErrorInAssignment",
    "EscapeCharacterConflict",
    "FloatingPointException",
    "IndicatorOverflow",
    "IntervalFieldOverflow",
    "InvalidArgumentForLogarithm",
    "InvalidArgumentForNthValueFunction",
    "InvalidArgumentForNtileFunction",
    "InvalidArgumentForPowerFunction",
    "InvalidArgumentForSQLJSONDatetimeFunction",
    "InvalidArgumentForWidthBucketFunction",
    "InvalidBinaryRepresentation",
    "InvalidCharacterValueForCast",
    "InvalidDatetimeFormat",
    "InvalidEscapeCharacter",
    "InvalidEscapeOctet",
    "InvalidEscapeSequence",
    "InvalidIndicatorParameterValue",
    "InvalidJSONText",
    "InvalidParameterValue",
    "InvalidPrecedingOrFollowingSize",
    "InvalidRegularExpression",
    "InvalidRowCountInLimitClause",
    "InvalidRowCountInResultOffsetClause",
    "InvalidSQLJSONSubscript",
    "InvalidTablesampleArgument",
    "InvalidTablesampleRepeat",
    "InvalidTextRepresentation",
    "InvalidTimeZoneDisplacementValue",
    "InvalidUseOfEscapeCharacter",
    "InvalidXMLComment",
    "InvalidXMLContent",
    "InvalidXMLDocument",
    "InvalidXMLProcessingInstruction",
    "MoreThanOneSQLJSONItem",
    "MostSpecificTypeMismatch",
    "NoSQLJSONItem",
    "NonNumericSQLJSONItem",
    "NonUniqueKeysInAJSONObject",
    "NonstandardUseOfEscapeCharacter",
    "NotAnXMLDocument",
    "NullValueNoIndicatorParameter",
    "NullValueNotAllowed",
    "NumericValueOutOfRange",
    "SQLJSONArrayNotFound",
    "SQLJSONItemCannotBeCastToTargetType",
    "SQLJSONMemberNotFound",
    "SQLJSONNumberNotFound",
    "SQLJSONObjectNotFound",
    "SQLJSONScalarRequired",
    "SequenceGeneratorLimitExceeded",
    "SingletonSQLJSONItemRequired",
    "StringDataLengthMismatch",
    "StringDataRightTruncation",
    "SubstringFault",
    "TooManyJSONArrayElements",
    "TooManyJSONObjectMembers",
    "TrimFault",
    "UnterminatedCString",
    "UntranslatableCharacter",
    "ZeroLengthCharacterString",
]


class StringDataRightTruncation(DataException, code="22001"):
    """22001: string_data_right_truncation."""


class NullValueNoIndicatorParameter(DataException, code="22002"):
    """22002: null_value_no_indicator_parameter."""


class NumericValueOutOfRange(DataException, code="22003"):
    """22003: numeric_value_out_of_range."""


class NullValueNotAllowed(DataException, code="22004"):
    """22004: null_value_not_allowed."""


class ErrorInAssignment(DataException, code="22005"):
    """22005: error_in_assignment."""


class InvalidDatetimeFormat(DataException, code="22007"):
    """22007: invalid_datetime_format."""


class DatetimeFieldOverflow(DataException, code="22008"):
    """22008: datetime_field_overflow."""


class InvalidTimeZoneDisplacementValue(DataException, code="22009"):
    """22009: invalid_time_zone_displacement_value."""


class EscapeCharacterConflict(DataException, code="2200B"):
    """2200B: escape_character_conflict."""


class InvalidUseOfEscapeCharacter(DataException, code="2200C"):
    """2200C: invalid_use_of_escape_character."""


class InvalidEscapeOctet(DataException, code="2200D"):
    """2200D: invalid_escape_octet."""


class ZeroLengthCharacterString(DataException, code="2200F"):
    """2200F: zero_length_character_string."""


class MostSpecificTypeMismatch(DataException, code="2200G"):
    """2200G: most_specific_type_mismatch."""


class SequenceGeneratorLimitExceeded(DataException, code="2200H"):
    """2200H: sequence_generator_limit_exceeded."""


class NotAnXMLDocument(DataException, code="2200L"):
    """2200L: not_an_xml_document."""


class InvalidXMLDocument(DataException, code="2200M"):
    """2200M: invalid_xml_document."""


class InvalidXMLContent(DataException, code="2200N"):
    """2200N: invalid_xml_content."""


class InvalidXMLComment(DataException, code="2200S"):
    """2200S: invalid_xml_comment."""


class InvalidXMLProcessingInstruction(DataException, code="2200T"):
    """2200T: invalid_xml_processing_instruction."""


class InvalidIndicatorParameterValue(DataException, code="22010"):
    """22010: invalid_indicator_parameter_value."""


class SubstringFault(DataException, code="22011"):
    """22011: substring_error."""


class DivisionByZero(DataException, code="22012"):
    """22012: division_by_zero."""


class InvalidPrecedingOrFollowingSize(DataException, code="22013"):
    """22013: invalid_preceding_or_following_size."""


class InvalidArgumentForNtileFunction(DataException, code="22014"):
    """22014: invalid_argument_for_ntile_function."""


class IntervalFieldOverflow(DataException, code="22015"):
    """22015: interval_field_overflow."""


class InvalidArgumentForNthValueFunction(DataException, code="22016"):
    """22016: invalid_argument_for_nth_value_function."""


class InvalidCharacterValueForCast(DataException, code="22018"):
    """22018: invalid_character_value_for_cast."""


class InvalidEscapeCharacter(DataException, code="22019"):
    """22019: invalid_escape_character."""


class InvalidRegularExpression(DataException, code="2201B"):
    """2201B: invalid_regular_expression."""


class InvalidArgumentForLogarithm(DataException, code="2201E"):
    """2201E: invalid_argument_for_logarithm."""


class InvalidArgumentForPowerFunction(DataException, code="2201F"):
    """2201F: invalid_argument_for_power_function."""


class InvalidArgumentForWidthBucketFunction(DataException, code="2201G"):
    """2201G: invalid_argument_for_width_bucket_function."""


class InvalidRowCountInLimitClause(DataException, code="2201W"):
    """2201W: invalid_row_count_in_limit_clause."""


class InvalidRowCountInResultOffsetClause(DataException, code="2201X"):
    """2201X: invalid_row_count_in_result_offset_clause."""


class CharacterNotInRepertoire(DataException, code="22021"):
    """22021: character_not_in_repertoire."""


class IndicatorOverflow(DataException, code="22022"):
    """22022: indicator_overflow."""


class InvalidParameterValue(DataException, code="22023"):
    """22023: invalid_parameter_value."""


class UnterminatedCString(DataException, code="22024"):
    """22024: unterminated_c_string."""


class InvalidEscapeSequence(DataException, code="22025"):
    """22025: invalid_escape_sequence."""


class StringDataLengthMismatch(DataException, code="22026"):
    """22026: string_data_length_mismatch."""


class TrimFault(DataException, code="22027"):
    """22027: trim_error."""


class ArraySubscriptFault(DataException, code="2202E"):
    """2202E: array_subscript_error."""


class InvalidTablesampleRepeat(DataException, code="2202G"):
    """2202G: invalid_tablesample_repeat."""


class InvalidTablesampleArgument(DataException, code="2202H"):
    """2202H: invalid_tablesample_argument."""


class DuplicateJSONObjectKeyValue(DataException, code="22030"):
    """22030: duplicate_json_object_key_value."""


class InvalidArgumentForSQLJSONDatetimeFunction(DataException, code="22031"):
    """22031: invalid_argument_for_sql_json_datetime_function."""


class InvalidJSONText(DataException, code="22032"):
    """22032: invalid_json_text."""


class InvalidSQLJSONSubscript(DataException, code="22033"):
    """22033: invalid_sql_json_subscript."""


class MoreThanOneSQLJSONItem(DataException, code="22034"):
    """22034: more_than_one_sql_json_item."""


class NoSQLJSONItem(DataException, code="22035"):
    """22035: no_sql_json_item."""


class NonNumericSQLJSONItem(DataException, code="22036"):
    """22036: non_numeric_sql_json_item."""


class NonUniqueKeysInAJSONObject(DataException, code="22037"):
    """22037: non_unique_keys_in_a_json_object."""


class SingletonSQLJSONItemRequired(DataException, code="22038"):
    """22038: singleton_sql_json_item_required."""


class SQLJSONArrayNotFound(DataException, code="22039"):
    """22039: sql_json_array_not_found."""


class SQLJSONMemberNotFound(DataException, code="2203A"):
    """2203A: sql_json_member_not_found."""


class SQLJSONNumberNotFound(DataException, code="2203B"):
    """2203B: sql_json_number_not_found."""


class SQLJSONObjectNotFound(DataException, code="2203C"):
    """2203C: sql_json_object_not_found."""


class TooManyJSONArrayElements(DataException, code="2203D"):
    """2203D: too_many_json_array_elements."""


class TooManyJSONObjectMembers(DataException, code="2203E"):
    """2203E: too_many_json_object_members."""


class SQLJSONScalarRequired(DataException, code="2203F"):
    """2203F: sql_json_scalar_required."""


class SQLJSONItemCannotBeCastToTargetType(DataException, code="2203G"):
    """2203G: sql_json_item_cannot_be_cast_to_target_type."""


class FloatingPointException(DataException, code="22P01"):
    """22P01: floating_point_exception."""


class InvalidTextRepresentation(DataException, code="22P02"):
    """22P02: invalid_text_representation."""


class InvalidBinaryRepresentation(DataException, code="22P03"):
    """22P03: invalid_binary_representation."""


class BadCopyFileFormat(DataException, code="22P04"):
    """22P04: bad_copy_file_format."""


class UntranslatableCharacter(DataException, code="22P05"):
    """22P05: untranslatable_character."""


class NonstandardUseOfEscapeCharacter(DataException, code="22P06"):
    """22P06: nonstandard_use_of_escape_character."""


class DatumVersionMismatch(DataException, code="22P07"):
    """22P07: datum_version_mismatch."""
