"""Finding: something that a user should know about one of their objects."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from meshpass.api.objectset import ObjectKey


class Severity(IntEnum):
    """How much of the object holds; the worst finding decides the object's state."""

    NOTE = 0
    """All of it holds as written; there is something to know."""
    WARNING = 1
    """It holds, but not all of it."""
    FAILED = 2
    """It is right in itself and holds nowhere."""
    INVALID = 3
    """It is wrong. A policy that is wrong denies its routes."""


class Reason(StrEnum):
    """What a program can branch on. Names of Gateway API policy attachment where there is one."""

    ACCEPTED = "Accepted"
    INVALID = "Invalid"
    INVALID_KEY = "InvalidKey"
    INVALID_HOST = "InvalidHost"
    JWKS_SOURCE_MISSING = "JWKSSourceMissing"
    JWKS_STALE = "JWKSStale"
    SHARED_KEY = "SharedKey"
    PROVIDERS_MISSING = "ProvidersMissing"
    CLAIM_HEADER_SPOOFABLE = "ClaimHeaderSpoofable"
    CONFLICTED = "Conflicted"
    NO_EFFECT = "NoEffect"
    NO_WORKSPACE = "NoWorkspace"
    TARGET_NOT_FOUND = "TargetNotFound"
    BACKEND_NOT_FOUND = "BackendNotFound"
    UNSUPPORTED_VALUE = "UnsupportedValue"
    FROZEN = "Frozen"
    PENDING = "Pending"
    REJECTED = "Rejected"
    PROGRAMMED = "Programmed"


NO_EFFECT_YET = "has no effect yet"
"""What is wrong with a field that the API has and Meshpass does not act on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to know about one object."""

    key: ObjectKey
    severity: Severity
    reason: Reason
    message: str
    path: str = ""
    """The field's path, where one field is meant."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def no_effect(key: ObjectKey, path: str, severity: Severity = Severity.WARNING) -> Finding:
    """What is said of a field that is not acted on yet."""
    return Finding(key=key, severity=severity, reason=Reason.NO_EFFECT, message=f"no effect yet: {path}")
