"""What is said of a value that is wrong, in place of pydantic's words, which are about its models."""

from pydantic_core import ErrorDetails

from missions.domain.fields import MAX_DEPTH

WORDS = {  # by the type of the error, with its context
    "enum": "must be {expected}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_parsing_size": "is too large",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "list_type": "must be a list",
    "literal_error": "must be {expected}",
    "missing": "is required",
    "recursion_loop": f"is nested deeper than {MAX_DEPTH} levels; flatten it",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must not be empty",
    "too_long": "must have at most {max_length} elements",
    "too_short": "must not be empty",
    "extra_forbidden": "unknown field",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
    "dict_type": "must be a JSON object",
    "string_type": "must be a string",
    "string_unicode": "is not valid Unicode (a lone surrogate)",
}


def of(error: ErrorDetails) -> str:
    """What is wrong with the value that this error is about."""
    if error["type"] in WORDS:
        return WORDS[error["type"]].format_map(error.get("ctx", {}))
    return error["msg"].removeprefix("Value error, ")
