"""Bearer tokens of the embedded API servers."""

from __future__ import annotations

import secrets
from pathlib import Path

from meshpass.errors import MeshpassError
from meshpass.secretfile import write_secret_file

_BYTES = 32
_SHORTEST = 43  # 32 bytes in URL-safe base64


class Redacted(str):
    """Text that prints as ``***`` wherever it is shown for debugging; it is sent and compared as itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"


def ensure_token(path: Path) -> Redacted:
    """The token in the file, which is made with 256 random bits when it is not there.

    Raises MeshpassError when the file holds no such token or can be read by others: a token that others may have read
    is not one to go on with.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        token = secrets.token_urlsafe(_BYTES)
        write_secret_file(path, token.encode())
        return Redacted(token)
    hint = f"delete {path}; a new token is made at the next start"
    if mode & 0o077:
        raise MeshpassError(f"the token file {path} can be read by others (mode {mode & 0o777:04o})", hint=hint)
    token = path.read_text(encoding="ascii", errors="replace").strip()
    if len(token) < _SHORTEST or not token.isascii():
        raise MeshpassError(f"the token file {path} holds no token", hint=hint)
    return Redacted(token)
