"""JWTPolicy → JWT providers and the requirement that they make, or why its routes are denied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from meshpass.api.objectset import ObjectKey
from meshpass.api.security import ClearRouteCache, JWTPolicy, JWTPolicyConfig, JWTProvider, ValidationPolicy
from meshpass.ir import Allow, FailedToken, JwtRequirement, PayloadRules, Phase
from meshpass.ir import JwtProvider as IrProvider
from meshpass.memo import Memo
from meshpass.translate.claims import rule_problems, translate_rules
from meshpass.translate.effect import find_without_effect
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.jwtprovider import claim_headers, provider_problems, translate_provider
from meshpass.translate.keyresolution import KeyText
from meshpass.translate.keys import KeyTextError, has_shared_key, read_key_set
from meshpass.translate.keysource import KeySource
from meshpass.translate.selection_class import content_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRules:
    """What one policy comes to. Without a requirement it cannot be built, and what it selects is denied."""

    key: ObjectKey
    phase: Phase
    providers: tuple[IrProvider, ...]
    payloads: tuple[tuple[str, PayloadRules], ...]
    failed: tuple[tuple[str, FailedToken], ...]
    requirement: JwtRequirement | None
    sources: tuple[KeySource, ...]
    """The remote key sets that it needs."""
    findings: tuple[Finding, ...]


def translate_policy(
    key: ObjectKey, policy: JWTPolicy, problems: tuple[str, ...], keys: tuple[KeyText, ...], memo: Memo
) -> PolicyRules:
    """The rules of a policy. Whatever is wrong with it makes it deny, never open (decision 5)."""
    config = policy.spec.config
    findings = [_invalid(key, Reason.INVALID, "", problem) for problem in problems]
    findings.extend(_invalid(key, Reason.INVALID, path, message) for path, message in rule_problems(config))
    if not config.providers:
        findings.append(_invalid(key, Reason.PROVIDERS_MISSING, "spec.config.providers", "at least one is needed"))
    allow = _allow(config)
    rules = translate_rules(config)
    providers: dict[str, IrProvider] = {}
    payloads: dict[str, PayloadRules] = {}
    for (name, provider), text in zip(sorted(config.providers.items()), keys, strict=True):
        path = f"spec.config.providers[{name}]"
        jwks = _read_keys(key, text, findings, memo)
        findings.extend(_invalid(key, Reason.INVALID, *problem) for problem in provider_problems(provider, path))
        findings.extend(_spoofable(key, provider, path))
        payload = PayloadRules(
            claim_headers=claim_headers(provider),
            payload_header=provider.output_payload_to_header.lower(),
            rules=rules,
            clear_route_cache=_clears(config, provider),
        )
        translated = translate_provider(name, provider, jwks, payload, _phase(config))
        providers[translated.name] = translated
        payloads[translated.payload_key] = payload
    findings.extend(find_without_effect(key, policy.spec))
    broken = any(finding.severity is Severity.INVALID for finding in findings)
    built = _group_lax(tuple(providers.values()), allow)
    return PolicyRules(
        key=key,
        phase=_phase(config),
        providers=() if broken else built,
        payloads=() if broken else tuple(sorted(payloads.items())),
        failed=() if broken else tuple(_failed(built)),
        requirement=None if broken else JwtRequirement(providers=tuple(p.name for p in built), allow=allow),
        sources=tuple(text.source for text in keys if text.source is not None),
        findings=tuple(findings),
    )


def _invalid(key: ObjectKey, reason: Reason, path: str, message: str) -> Finding:
    return Finding(key=key, severity=Severity.INVALID, reason=reason, path=path, message=message)


def _phase(config: JWTPolicyConfig) -> Phase:
    return Phase.POST_AUTHZ if config.phase is not None and config.phase.post_authz is not None else Phase.PRE_AUTHZ


def _allow(config: JWTPolicyConfig) -> Allow:
    """The table of behaviour §2.5: the deprecated field wins over REQUIRE_VALID and loses to the others."""
    match config.validation_policy:
        case ValidationPolicy.ALLOW_MISSING:
            return Allow.MISSING
        case ValidationPolicy.ALLOW_MISSING_OR_FAILED:
            return Allow.MISSING_OR_FAILED
        case ValidationPolicy.REQUIRE_VALID:
            return Allow.MISSING_OR_FAILED if config.allow_missing_or_failed else Allow.NOTHING


def _clears(config: JWTPolicyConfig, provider: JWTProvider) -> bool:
    """AUTO chooses the route again when headers were written (decision 18)."""
    if config.clear_route_cache is ClearRouteCache.AUTO:
        return bool(provider.claims_to_headers or provider.output_payload_to_header)
    return config.clear_route_cache is ClearRouteCache.TRUE


def _read_keys(key: ObjectKey, text: KeyText, findings: list[Finding], memo: Memo) -> str:
    """The provider's JWKS; empty if there is none, with a finding that says why."""
    if text.text is None and text.source is None:
        reason = Reason.JWKS_SOURCE_MISSING
        findings.append(_invalid(key, reason, text.path, text.problem))
        return ""
    if text.problem:
        finding = Finding(
            key=key, severity=Severity.WARNING, reason=Reason.JWKS_STALE, path=text.path, message=text.problem
        )
        findings.append(finding)
    if text.text is None:
        return ""
    jwks, problem = memo(_read_key_set, text.text, text.secret)
    if problem:
        findings.append(_invalid(key, Reason.INVALID_KEY, text.path, problem))
    elif text.secret and has_shared_key(jwks):
        message = "holds a shared key (oct): whoever can read it can make tokens"
        findings.append(
            Finding(key=key, severity=Severity.WARNING, reason=Reason.SHARED_KEY, path=text.path, message=message)
        )
    return jwks


def _read_key_set(text: str, shared_keys: bool) -> tuple[str, str]:
    """The key set, and what is wrong with the text: one of the two is empty."""
    try:
        return read_key_set(text, shared_keys=shared_keys), ""
    except KeyTextError as error:
        return "", str(error)


def _spoofable(key: ObjectKey, provider: JWTProvider, path: str) -> Iterator[Finding]:
    for index, entry in enumerate(provider.claims_to_headers):
        if entry.append:
            yield Finding(
                key=key,
                severity=Severity.NOTE,
                reason=Reason.CLAIM_HEADER_SPOOFABLE,
                path=f"{path}.claimsToHeaders[{index}]",
                message=f"ClaimHeaderSpoofable: with append, a client's own {entry.header} is kept before the claim",
            )


def _group_lax(providers: tuple[IrProvider, ...], allow: Allow) -> tuple[IrProvider, ...]:
    """Providers of a policy that lets failed tokens pass belong together: a token that one refuses another may accept."""
    if allow is Allow.MISSING_OR_FAILED:
        group = content_hash(tuple(sorted(provider.name for provider in providers)))
        providers = tuple(replace(provider, name=f"{provider.name}-{group}", lax_group=group) for provider in providers)
    return tuple(sorted(providers, key=lambda provider: provider.name))


def _failed(providers: tuple[IrProvider, ...]) -> Iterator[tuple[str, FailedToken]]:
    names = tuple(provider.name for provider in providers)
    keeping = tuple(provider.name for provider in providers if provider.keep_token)
    all_headers = _headers(*providers)
    all_parameters = tuple(dict.fromkeys(name for provider in providers for name in provider.query_parameters))
    for provider in providers:
        if provider.lax_group:
            yield (
                provider.name,
                FailedToken(
                    alternatives=names,
                    keeping=keeping,
                    headers=_headers(provider),
                    query_parameters=provider.query_parameters,
                    all_headers=all_headers,
                    all_query_parameters=all_parameters,
                ),
            )


def _headers(*providers: IrProvider) -> tuple[str, ...]:
    return tuple(dict.fromkeys(header.name.lower() for provider in providers for header in provider.headers))
