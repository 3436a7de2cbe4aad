"""JWTPolicy → JWT providers and the requirement that they make, or why its routes are denied."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from meshpass.api.objectset import ObjectKey
from meshpass.api.security import JWTPolicy, JWTProvider, TokenSource
from meshpass.ir import ClaimHeader, JwtRequirement, TokenHeader
from meshpass.ir import JwtProvider as IrProvider
from meshpass.translate.effect import find_without_effect
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.keys import KeyTextError, read_key_set
from meshpass.translate.selection_class import content_hash

DEFAULT_HEADERS = (TokenHeader("Authorization", "Bearer "),)
DEFAULT_QUERY_PARAMETERS = ("access_token",)
DEFAULT_CLOCK_SKEW_SECONDS = 60

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.1
_HEADER_VALUE = re.compile(r"[^\x00-\x1f\x7f]*")
_FRAMING_HEADERS = frozenset({"host", "connection", "content-length", "transfer-encoding", "te", "upgrade", "trailer"})
"""A claim in one of these would change where or how the request is read, not what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRules:
    """What one policy comes to. Without a requirement it cannot be built, and its routes are denied."""

    key: ObjectKey
    providers: tuple[IrProvider, ...]
    requirement: JwtRequirement | None
    findings: tuple[Finding, ...]


def translate_policy(key: ObjectKey, policy: JWTPolicy, problems: tuple[str, ...]) -> PolicyRules:
    """The rules of a policy. Whatever is wrong with it makes it deny, never open (decision 5)."""
    findings = [_invalid(key, Reason.INVALID, "", problem) for problem in problems]
    findings.extend(_unbuilt(key, policy))
    if not policy.spec.config.providers:
        findings.append(_invalid(key, Reason.PROVIDERS_MISSING, "spec.config.providers", "at least one is needed"))
    providers = []
    for name, provider in sorted(policy.spec.config.providers.items()):
        path = f"spec.config.providers[{name}]"
        keys = _read_keys(key, provider, path, findings)
        findings.extend(_check_provider(key, provider, path))
        providers.append(_translate_provider(name, provider, keys))
    findings.extend(find_without_effect(key, policy.spec))
    broken = any(finding.severity is Severity.INVALID for finding in findings)
    unique = {provider.name: provider for provider in providers}
    return PolicyRules(
        key=key,
        providers=() if broken else tuple(unique[name] for name in sorted(unique)),
        requirement=None if broken else JwtRequirement(providers=tuple(unique)),
        findings=tuple(findings),
    )


def _invalid(key: ObjectKey, reason: Reason, path: str, message: str) -> Finding:
    return Finding(key=key, severity=Severity.INVALID, reason=reason, path=path, message=message)


def _unbuilt(key: ObjectKey, policy: JWTPolicy) -> Iterator[Finding]:
    """Conditions that are not built yet narrow who may pass, so a policy that has them denies."""
    config = policy.spec.config
    narrowing = {"claims": config.claims, "requiredScopes": config.required_scopes}
    for name, value in narrowing.items():
        if value:
            message = "no effect yet, so the routes of this policy are denied"
            yield _invalid(key, Reason.NO_EFFECT, f"spec.config.{name}", message)


def _read_keys(key: ObjectKey, provider: JWTProvider, path: str, findings: list[Finding]) -> str:
    """The provider's JWKS; empty, with a finding, if there is none."""
    if provider.remote is not None or (provider.local is not None and provider.local.secret_ref is not None):
        field = "remote" if provider.remote is not None else "local.secretRef"
        message = "no effect yet, so the routes of this policy are denied"
        findings.append(_invalid(key, Reason.NO_EFFECT, f"{path}.{field}", message))
        return ""
    if provider.local is None or provider.local.inline is None:
        message = "has no keys; set local.inline"
        findings.append(_invalid(key, Reason.JWKS_SOURCE_MISSING, path, message))
        return ""
    try:
        return read_key_set(provider.local.inline)
    except KeyTextError as error:
        findings.append(_invalid(key, Reason.INVALID_KEY, f"{path}.local.inline", str(error)))
        return ""


def _check_provider(key: ObjectKey, provider: JWTProvider, path: str) -> Iterator[Finding]:
    for place, message in (*_token_source_problems(provider, path), *_claim_problems(provider, path)):
        yield _invalid(key, Reason.INVALID, place, message)
    for index, audience in enumerate(provider.audiences):
        if not audience:
            yield _invalid(key, Reason.INVALID, f"{path}.audiences[{index}]", "is empty")
    for index, entry in enumerate(provider.claims_to_headers):
        if entry.append:
            yield Finding(
                key=key,
                severity=Severity.NOTE,
                reason=Reason.CLAIM_HEADER_SPOOFABLE,
                path=f"{path}.claimsToHeaders[{index}]",
                message=f"ClaimHeaderSpoofable: with append, a client's own {entry.header} is kept before the claim",
            )


def _token_source_problems(provider: JWTProvider, path: str) -> Iterator[tuple[str, str]]:
    source = provider.token_source or TokenSource()
    for index, header in enumerate(source.headers):
        place = f"{path}.tokenSource.headers[{index}]"
        if not _HEADER_NAME.fullmatch(header.name):
            yield f"{place}.name", "is no name of a header"
        if not _HEADER_VALUE.fullmatch(header.prefix):
            yield f"{place}.prefix", "has a control character"
    for index, parameter in enumerate(source.query_params):
        if not parameter:
            yield f"{path}.tokenSource.queryParams[{index}]", "is empty"


def _claim_problems(provider: JWTProvider, path: str) -> Iterator[tuple[str, str]]:
    for index, entry in enumerate(provider.claims_to_headers):
        place = f"{path}.claimsToHeaders[{index}]"
        if not entry.claim:
            yield f"{place}.claim", "is empty"
        if not _HEADER_NAME.fullmatch(entry.header) or entry.header.lower() in _FRAMING_HEADERS:
            yield f"{place}.header", "is no name of a header that a claim may be in"


def _translate_provider(name: str, provider: JWTProvider, jwks: str) -> IrProvider:
    source = provider.token_source or TokenSource()
    headers = tuple(TokenHeader(header.name, header.prefix) for header in source.headers)
    default_place = not headers and not source.query_params
    claim_headers = tuple(
        ClaimHeader(claim=entry.claim, header=entry.header.lower(), append=entry.append)
        for entry in provider.claims_to_headers
    )
    skew = DEFAULT_CLOCK_SKEW_SECONDS if provider.clock_skew_seconds is None else provider.clock_skew_seconds
    translated = IrProvider(
        name="",
        issuer=provider.issuer,
        audiences=provider.audiences,
        jwks=jwks,
        headers=DEFAULT_HEADERS if default_place else headers,
        query_parameters=DEFAULT_QUERY_PARAMETERS if default_place else source.query_params,
        keep_token=provider.keep_token,
        clock_skew_seconds=max(skew, 1),  # Envoy takes 0 for "unset", which would mean 60 seconds
        claim_headers=claim_headers,
        payload_key=f"claims-{content_hash(claim_headers)}" if claim_headers else "",
    )
    readable = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40] or "provider"
    return replace(translated, name=f"{readable}-{content_hash(translated)}")
