"""Names of fields as identifiers of the Common Expression Language, escaped as Kubernetes does (apiserver ``pkg/cel``)."""

from __future__ import annotations

import re
from typing import Final

_RESERVED: Final = frozenset(
    {
        *("as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop"),
        *("namespace", "null", "package", "return", "true", "var", "void", "while"),
    }
)
_ACCESSIBLE: Final = re.compile(r"[A-Za-z_./-][A-Za-z0-9_./-]*")
_ESCAPES: Final = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}


def identifier(name: str) -> str | None:
    """What an expression calls the field, or ``None`` for a name that no expression can reach."""
    if name in _RESERVED:
        return f"__{name}__"
    if not _ACCESSIBLE.fullmatch(name):
        return None
    return re.sub(r"__|[./-]", lambda found: _ESCAPES[found.group()], name)
