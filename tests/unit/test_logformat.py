"""Log lines keep what their records say."""

from __future__ import annotations

import logging

from meshpass.logformat import FieldFormatter


def record(**fields: object) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"msg": "resource rejected", "levelname": "WARNING", "levelno": 30, "created": 0.5, **fields}
    )


def test_fields_follow_the_event() -> None:
    """As they were passed, quoted, so that a line break in one begins no new line."""
    line = FieldFormatter().format(record(node="sidecar~a", error="no\nkeys"))

    assert line == "1970-01-01T00:00:00.500+00:00 warning resource rejected node='sidecar~a' error='no\\nkeys'"


def test_a_traceback_follows_its_line() -> None:
    """Of the exception that was handled when the record was made."""
    error = ValueError("odd")
    text = FieldFormatter().format(record(exc_info=(ValueError, error, None)))

    first, *rest = text.splitlines()
    assert first.endswith("resource rejected")
    assert rest[-1] == "ValueError: odd"
