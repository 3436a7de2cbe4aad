"""Log lines for people: time, level, event, and its fields as ``name=value``."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class FieldFormatter(logging.Formatter):
    """One line for a record; what was passed as ``extra`` follows the event."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; an exception's traceback follows on lines of its own."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = "".join(f" {name}={value!r}" for name, value in vars(record).items() if name not in _STANDARD)
        line = f"{moment} {record.levelname.lower()} {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def log_to_stderr(level: int) -> None:
    """Meshpass's own records of this level and above go to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(FieldFormatter())
    logger = logging.getLogger("meshpass")
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
