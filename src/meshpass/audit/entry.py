"""Envoy's access log entry → DecisionRecord. Pure, and total: whatever an entry holds, a record comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from envoy.data.accesslog.v3.accesslog_pb2 import AccessLogCommon, TCPAccessLogEntry
from google.protobuf.struct_pb2 import Struct

from meshpass.audit.record import DecisionRecord, Failure, Verdict
from meshpass.audit.redaction import redact
from meshpass.envoy.access import RBAC_METADATA, TRIAL_RESULT
from meshpass.envoy.access_log import DECISION_FIELDS, DECISION_TAG
from meshpass.envoy.filters import FAILED_KEY, JWT_METADATA, PROVIDER_KEY, STRIPPED_MARK, Side

MISSING = "Jwt is missing"
"""Envoy says it under every provider that was asked; none of them refused anything."""

MAX_NAME = 256
MAX_PATH = 256
MAX_REASON = 120
MAX_FAILURES = 8
LATEST = 253_402_300_799
"""The last second of the year 9999: what can be written as a date."""

PolicyOf = Callable[[str], str]
"""Selection class → the policy that holds on its routes, empty if there is none."""

_JWT_DENIED = "jwt_authn_access_denied{"
_RBAC_DENIED = "rbac_access_denied"
_NO_FIELDS = ("",) * len(DECISION_FIELDS)


def parse_entry(
    node: str,
    side: Side,
    entry: TCPAccessLogEntry,
    *,
    policy_of: PolicyOf,
    hash_subject: Callable[[str, str], str],
) -> DecisionRecord:
    """The record of one entry of the proxy ``node``; what the entry does not say is empty."""
    common = entry.common_properties
    selection_class, method, host, path, status, details = _read_fields(common)
    policy = policy_of(selection_class) if selection_class else ""
    identity = _read_identity(common, hash_subject)
    verdict, reason = _judge(details, policy, identity)
    start, duration = common.start_time, common.duration
    return DecisionRecord(
        time=min(max(start.seconds, 0), LATEST) + start.nanos / 1e9,
        duration=duration.seconds + duration.nanos / 1e9,
        proxy=node,
        side=side,
        method=redact(method[:MAX_NAME]),
        host=redact(host[:MAX_NAME]),
        path=_clean_path(path),
        route=common.route_name[:MAX_NAME],
        selection_class=selection_class[:MAX_NAME],
        policy=policy[:MAX_NAME],
        provider=identity.provider,
        kid=identity.kid,
        subject_hash=identity.subject_hash,
        verdict=verdict,
        status=int(status) if status.isascii() and status.isdigit() and len(status) == 3 else 0,
        reason=reason,
        failures=identity.failures,
        trial=_read_trial(common),
    )


class _Identity:
    """What the JWT filter left about the request's tokens."""

    __slots__ = ("failures", "is_missing", "is_verified", "kid", "provider", "subject_hash")

    def __init__(self) -> None:
        self.provider = self.kid = self.subject_hash = ""
        self.failures: tuple[Failure, ...] = ()
        self.is_missing = self.is_verified = False

    @property
    def shortcoming(self) -> str:
        """Why no token was verified, for a request that may pass without; empty if one was, or none was looked for."""
        if self.is_verified:
            return ""
        return self.failures[0].reason if self.failures else MISSING if self.is_missing else ""


def _read_fields(common: AccessLogCommon) -> tuple[str, ...]:
    fields = tuple(common.custom_tags.get(DECISION_TAG, "").split("\n"))
    if len(fields) != len(DECISION_FIELDS):
        return _NO_FIELDS
    # Envoy writes `-` for what there is not, or nothing.
    return tuple("" if field == "-" else field for field in fields) if "-" in fields else fields


def _clean_path(path: str) -> str:
    """The path up to its query or fragment. The proxy sends none; whatever else comes on the socket has none either."""
    if "?" in path:
        path = path[: path.index("?")]
    if "#" in path:
        path = path[: path.index("#")]
    return redact(path[:MAX_PATH])


def _read_identity(common: AccessLogCommon, hash_subject: Callable[[str, str], str]) -> _Identity:
    found = _Identity()
    namespaces: Mapping[str, Struct] = common.metadata.filter_metadata
    if JWT_METADATA not in namespaces:
        return found
    failures: list[Failure] = []
    # Sorted: a map has no order, and a record of two verified tokens names the same one every time.
    for key, value in sorted(namespaces[JWT_METADATA].fields.items(), key=_by_key):
        if not value.HasField("struct_value"):
            continue
        fields = value.struct_value.fields
        if key.startswith(PROVIDER_KEY):
            found.is_verified = True
            found.provider = found.provider or _name(key[len(PROVIDER_KEY) :].partition(STRIPPED_MARK)[0])
            found.kid = found.kid or _name(_text(fields, "kid"))
        elif key.startswith(FAILED_KEY):
            reason = redact(_text(fields, "message")[:MAX_REASON])
            if reason == MISSING:
                found.is_missing = True
            else:
                failures.append(Failure(provider=_name(key[len(FAILED_KEY) :]), reason=reason))
        elif not found.subject_hash and "sub" in fields:
            found.subject_hash = hash_subject(_text(fields, "iss"), _text(fields, "sub"))
    found.failures = tuple(failures[:MAX_FAILURES])
    if not found.provider and len(found.failures) == 1:
        found.provider = found.failures[0].provider
    return found


def _read_trial(common: AccessLogCommon) -> str:
    """What the RBAC filter says of rules that refuse nothing."""
    namespaces: Mapping[str, Struct] = common.metadata.filter_metadata
    if RBAC_METADATA not in namespaces:
        return ""
    said = _text(namespaces[RBAC_METADATA].fields, TRIAL_RESULT)
    return said if said in {"allowed", "denied"} else ""


def _by_key(item: tuple[str, Any]) -> str:
    return item[0]


def _name(text: str) -> str:
    return text[:MAX_NAME] if text.isprintable() else redact(text[:MAX_NAME])


def _text(fields: Mapping[str, Any], key: str) -> str:
    # Reading a key that a map field does not have would add it.
    return str(fields[key].string_value) if key in fields else ""


def _judge(details: str, policy: str, identity: _Identity) -> tuple[Verdict, str]:
    """Only what the filters refuse is denied: a 401 or 403 of the application has other details."""
    if details.startswith(_JWT_DENIED):
        reason = details[len(_JWT_DENIED) :].rstrip("}").replace("_", " ")
        # The rest of this one lists all requirements of the proxy.
        reason = reason.partition(":")[0] if reason.startswith("Failed JWT authentication") else reason
        return Verdict.DENIED, redact(reason[:MAX_REASON])
    if details.startswith(_RBAC_DENIED):
        return Verdict.DENIED, "RBAC: access denied"
    if not policy:
        return Verdict.OPEN, ""
    return Verdict.ALLOWED, identity.shortcoming
