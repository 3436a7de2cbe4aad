"""Everything that Meshpass raises on purpose. Users' mistakes are findings in a Report, never exceptions.

MeshpassError
├── ManifestError        text that is no manifest of a known kind
├── ApiError             an API server answered with a failure (carries the Kubernetes Status)
│   └── ExpiredError     410: the resourceVersion is gone; list again
├── XdsProtocolError     a discovery request that breaks the protocol
├── MeshFileError        a mesh file that cannot be run
└── LocalMeshError       the local mesh could not start or is not running
"""

from __future__ import annotations


class MeshpassError(Exception):
    """What went wrong, where, and (in ``hint``) what to do about it."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ManifestError(MeshpassError):
    """Text that is no manifest of a known kind; the message starts with the field's path where one is known."""


class ApiError(MeshpassError):
    """An API server answered with a failure. ``code`` is the HTTP status, ``reason`` Kubernetes' CamelCase word."""

    def __init__(self, message: str, *, code: int, reason: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.reason = reason


class ExpiredError(ApiError):
    """410 Gone: the requested resourceVersion is older than what the server keeps; list again."""


class XdsProtocolError(MeshpassError):
    """A discovery request that no state of the protocol allows; the stream is closed."""


class MeshFileError(MeshpassError):
    """A mesh file that cannot be run; the message names the field's path."""


class LocalMeshError(MeshpassError):
    """The local mesh could not start, or is not running."""
