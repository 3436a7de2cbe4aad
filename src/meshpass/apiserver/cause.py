"""Cause: one thing that is wrong with one field of an object, in the words of a Kubernetes API server."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

NO_FIELD = "<nil>"
"""What Kubernetes prints as the field of an error that belongs to no single one, such as a failed ``oneOf``."""


class CauseReason(StrEnum):
    """The machine-readable reasons of ``StatusCause`` (meta.k8s.io/v1)."""

    DUPLICATE = "FieldValueDuplicate"
    FORBIDDEN = "FieldValueForbidden"
    INVALID = "FieldValueInvalid"
    NOT_SUPPORTED = "FieldValueNotSupported"
    REQUIRED = "FieldValueRequired"
    TOO_LONG = "FieldValueTooLong"
    TOO_MANY = "FieldValueTooMany"
    TYPE_INVALID = "FieldValueTypeInvalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One wrong field; ``message`` does not repeat ``field``."""

    field: str
    reason: CauseReason
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"

    def as_json(self) -> dict[str, str]:
        """An entry of ``Status.details.causes``."""
        return {"reason": self.reason.value, "message": self.message, "field": self.field}


def aggregate_message(causes: Iterable[Cause]) -> str:
    """The causes as the tail of ``X "name" is invalid: …``: one as it is, several in brackets, none twice."""
    texts = tuple(dict.fromkeys(str(cause) for cause in causes))
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def required(field: str, detail: str = "") -> Cause:
    """A value that must be there is missing or empty."""
    return _cause(field, CauseReason.REQUIRED, "Required value", detail)


def forbidden(field: str, detail: str) -> Cause:
    """A well-formed value that is not permitted here."""
    return _cause(field, CauseReason.FORBIDDEN, "Forbidden", detail)


def invalid(field: str, value: Any, detail: str) -> Cause:
    """A malformed value."""
    return _cause(field, CauseReason.INVALID, f"Invalid value: {render_value(value)}", detail)


def type_invalid(field: str, value: Any, detail: str) -> Cause:
    """A value of another JSON type than the schema's."""
    return _cause(field, CauseReason.TYPE_INVALID, f"Invalid value: {render_value(value)}", detail)


def not_supported(field: str, value: Any, supported: Iterable[str]) -> Cause:
    """A value outside an enumeration."""
    choices = ", ".join(render_value(choice) for choice in supported)
    message = f"Unsupported value: {render_value(value)}"
    return _cause(field, CauseReason.NOT_SUPPORTED, message, f"supported values: {choices}" if choices else "")


def duplicate(field: str, value: Any) -> Cause:
    """A value that must be unique among its siblings is there twice."""
    return _cause(field, CauseReason.DUPLICATE, f"Duplicate value: {render_value(value)}", "")


def too_long(field: str, limit: int) -> Cause:
    """A text longer than ``limit``; the text itself is not repeated."""
    return _cause(field, CauseReason.TOO_LONG, "Too long", f"may not be more than {limit} bytes")


def too_many(field: str, actual: int, limit: int) -> Cause:
    """A list or map with more than ``limit`` entries."""
    return _cause(field, CauseReason.TOO_MANY, f"Too many: {actual}", f"must have at most {limit} items")


def _cause(field: str, reason: CauseReason, message: str, detail: str) -> Cause:
    return Cause(field=field, reason=reason, message=f"{message}: {detail}" if detail else message)


def render_value(value: Any) -> str:
    """A value as Kubernetes' errors show it: JSON with null in quotes, whole floats without a fraction."""
    if value is None:
        return '"null"'
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, default=str)
    except (RecursionError, TypeError, ValueError):
        return f'"{type(value).__name__}"'
