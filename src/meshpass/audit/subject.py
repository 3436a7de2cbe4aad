"""SubjectHasher: who a token was about, as a name that stays the same and that nobody can turn back."""

from __future__ import annotations

import hmac
import secrets
import stat
from pathlib import Path

from meshpass.errors import MeshpassError
from meshpass.secretfile import write_secret_file

SALT_BYTES = 32
HASH_DIGITS = 16


class SubjectHasher:
    """Issuer and subject → 16 hex digits. Equal for equal tokens' subjects of one installation, unlike on another."""

    def __init__(self, salt: bytes) -> None:
        self._salt = salt

    def __call__(self, issuer: str, subject: str) -> str:
        """HMAC-SHA-256 under the salt: without it, the usual subjects (mail addresses) could be tried one by one."""
        message = f"{issuer}\0{subject}".encode()
        return hmac.digest(self._salt, message, "sha256").hex()[:HASH_DIGITS]


def load_salt(path: Path) -> bytes:
    """The installation's salt; the first call makes it, in a file of mode 0600.

    Raises MeshpassError for a file that is no salt or that others can read; OSError where it cannot be read or made.
    """
    try:
        salt = path.read_bytes()
    except FileNotFoundError:
        salt = secrets.token_bytes(SALT_BYTES)
        write_secret_file(path, salt)
        return salt
    if len(salt) != SALT_BYTES:
        raise MeshpassError(f"{path} holds no salt", hint="delete it: subjects then get other hashes from now on")
    if stat.S_IMODE(path.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        raise MeshpassError(f"others may read {path}", hint=f"chmod 0600 {path}, or delete it")
    return salt
