"""CORSPolicy → Cors: which pages of other origins may use a route."""

from __future__ import annotations

import re
from collections.abc import Iterator

from meshpass.api.duration import parse_duration
from meshpass.api.objectset import ObjectKey
from meshpass.api.security import AllowedOrigin, CORSPolicy, CORSPolicyConfig
from meshpass.errors import ManifestError
from meshpass.ir import Cors, OriginKind, OriginMatch, RouteOptions
from meshpass.regex import RegexError, compile_regex
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.pattern import regex_problem
from meshpass.translate.trafficpolicyoptions import PolicyOptions, invalid, is_sound, unreadable, without_effect
from meshpass.translate.trafficpolicyvalue import LONGEST, MAX_NAME, token_problem

ANY = "*"
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+", re.IGNORECASE)  # RFC 6454 §6.2
_OPAQUE = "null"
_VISIBLE = re.compile(r"[\x21-\x7e]+")


def translate_cors(key: ObjectKey, policy: CORSPolicy, problems: tuple[str, ...]) -> PolicyOptions:
    """What a CORSPolicy comes to."""
    config = policy.spec.config
    findings = [*unreadable(key, problems), *_judge(key, config)]
    if not config.allow_origins and not problems:
        message = "names no origin, so no page of another origin is let in"
        findings.append(without_effect(key, "spec.config.allowOrigins", message))
    options = RouteOptions(cors=_translate(config)) if is_sound(findings) else None
    return PolicyOptions(key=key, options=options, findings=tuple(findings))


def _translate(config: CORSPolicyConfig) -> Cors:
    age = None if config.max_age is None else parse_duration(config.max_age)
    return Cors(
        allow_origins=tuple(_translate_origin(origin) for origin in config.allow_origins),
        allow_methods=config.allow_methods,
        allow_headers=config.allow_headers,
        expose_headers=config.expose_headers,
        max_age_seconds=None if age is None else int(age.total_seconds()),
        allow_credentials=bool(config.allow_credentials),
    )


def _translate_origin(origin: AllowedOrigin) -> OriginMatch:
    if origin.regex is not None:
        return OriginMatch(OriginKind.REGEX, origin.regex)
    if origin.prefix is not None:
        return OriginMatch(OriginKind.PREFIX, origin.prefix, origin.ignore_case)
    return OriginMatch(OriginKind.EXACT, origin.exact or "", origin.ignore_case)


def _judge(key: ObjectKey, config: CORSPolicyConfig) -> Iterator[Finding]:
    for index, origin in enumerate(config.allow_origins):
        yield from _judge_origin(key, origin, f"spec.config.allowOrigins[{index}]", bool(config.allow_credentials))
    for names, field in (
        (config.allow_methods, "allowMethods"),
        (config.allow_headers, "allowHeaders"),
        (config.expose_headers, "exposeHeaders"),
    ):
        for index, name in enumerate(names):
            yield from _judge_name(key, name, f"spec.config.{field}[{index}]", bool(config.allow_credentials))
    if config.max_age is not None and not _is_countable(config.max_age):
        yield invalid(key, "spec.config.maxAge", "is over 8760h")


def _is_countable(text: str) -> bool:
    try:
        return parse_duration(text) <= LONGEST
    except ManifestError:
        return False


def _judge_name(key: ObjectKey, name: str, path: str, credentials: bool) -> Iterator[Finding]:
    problem = token_problem(name)
    if problem is not None:
        yield invalid(key, path, problem)
    elif name == ANY and credentials:
        message = "with allowCredentials, browsers take * for a name, not for all names (Fetch §3.2.5)"
        yield Finding(key=key, severity=Severity.NOTE, reason=Reason.UNSUPPORTED_VALUE, path=path, message=message)


def _judge_origin(key: ObjectKey, origin: AllowedOrigin, path: str, credentials: bool) -> Iterator[Finding]:
    field, value = _field(origin)
    place = f"{path}.{field}" if field else path
    problem = _origin_problem(field, value)
    if problem is not None:
        yield invalid(key, place, problem)
    elif field == "exact" and value == ANY and credentials:
        # Fetch §3.2.5: with credentials * allows nobody. Envoy would name each page's own origin, and so allow everybody.
        yield invalid(key, place, "with allowCredentials, * stands for no origin; say which origins are meant")
    elif credentials and _is_any(field, value):
        message = "any page may send credentials and read the answers"
        yield Finding(key=key, severity=Severity.WARNING, reason=Reason.UNSUPPORTED_VALUE, path=place, message=message)
    elif field == "exact" and value not in {ANY, _OPAQUE} and not _ORIGIN.fullmatch(value):
        yield without_effect(
            key, place, "is no origin: no browser sends anything but scheme://host or scheme://host:port"
        )


def _field(origin: AllowedOrigin) -> tuple[str, str]:
    for field in ("exact", "prefix", "regex", "suffix"):
        value: str | None = getattr(origin, field)
        if value is not None:
            return field, value
    return "", ""


def _origin_problem(field: str, value: str) -> str | None:
    match field:
        case "regex":
            return regex_problem(value)
        case "suffix":
            return "matching the end of an origin is not supported by the API"
        case "":
            return "says nothing about the origin"
        case _ if not 1 <= len(value) <= MAX_NAME:
            return f"has not 1 to {MAX_NAME} characters"
        case _:
            return None if _VISIBLE.fullmatch(value) else "has a character that no origin has"


def _is_any(field: str, value: str) -> bool:
    """True if Envoy takes it for all origins, which it does with whatever matches the text ``*``."""
    if field != "regex":
        return value == ANY
    try:
        return compile_regex(rf"\A(?:{value})\z").is_in(ANY)
    except RegexError:  # an expression that is not finished, such as \Qa, cannot be put into another
        return compile_regex(value).is_in(ANY)
