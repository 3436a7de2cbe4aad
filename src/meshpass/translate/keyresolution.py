"""Where a provider's keys come from: inline text, a Secret, or a remote JWKS that somebody fetches."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from meshpass.api.common import DestinationReference
from meshpass.api.core import Secret
from meshpass.api.duration import parse_duration
from meshpass.api.objectset import ObjectKey
from meshpass.api.security import JWTPolicy, JWTProvider, RemoteJWKS, SecretReference
from meshpass.errors import ManifestError
from meshpass.translate.catalog import Catalog
from meshpass.translate.destination import DestinationProblem
from meshpass.translate.endpointindex import EndpointIndex
from meshpass.translate.keydestination import KeyDestination, resolve_key_destination
from meshpass.translate.keysource import FetchedKeys, KeyFetch, KeySets, KeySource
from meshpass.translate.workspace import WorkspaceIndex


class KeyText(NamedTuple):
    """The text of a provider's keys, or why there is none. A tuple of text: equal ones are the same memo key."""

    text: str | None = None
    secret: bool = False
    """True for text of a Secret, in which a shared key (``oct``) may stand."""
    source: KeySource | None = None
    """The remote source; its text may be missing as yet."""
    problem: str = ""
    """With text or a source: a note. Without: why the policy cannot be built."""
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeyContext:
    """All that keys are found in."""

    secrets: Mapping[ObjectKey, Secret]
    catalog: Catalog
    endpoints: EndpointIndex
    workspaces: WorkspaceIndex
    key_sets: KeySets
    trust_domain: str


def resolve_keys(key: ObjectKey, policy: JWTPolicy, context: KeyContext) -> tuple[KeyText, ...]:
    """The key text of each provider, in order of their names."""
    providers = policy.spec.config.providers
    return tuple(
        _resolve(key, f"spec.config.providers[{name}]", providers[name], context) for name in sorted(providers)
    )


def _resolve(key: ObjectKey, path: str, provider: JWTProvider, context: KeyContext) -> KeyText:
    if provider.remote is not None:
        return _resolve_remote(key, f"{path}.remote", provider.remote, context)
    if provider.local is not None and provider.local.secret_ref is not None:
        return _resolve_secret(key, f"{path}.local.secretRef", provider.local.secret_ref, context)
    if provider.local is not None and provider.local.inline is not None:
        return KeyText(text=provider.local.inline, path=f"{path}.local.inline")
    return KeyText(problem="has no keys; set local.inline, local.secretRef or remote.url", path=path)


def _resolve_secret(key: ObjectKey, path: str, reference: SecretReference, context: KeyContext) -> KeyText:
    found = reference.object_ref
    if found is None or not found.name:
        return KeyText(problem="names no Secret", path=f"{path}.objectRef")
    secret_key = ObjectKey("Secret", found.cluster or key.cluster, found.namespace or key.namespace, found.name)
    place = f"namespace {secret_key.namespace} of cluster {secret_key.cluster}"
    if context.workspaces.owner(secret_key) != context.workspaces.owner(key):
        return KeyText(problem=f"{place} is not in the workspace of the policy", path=f"{path}.objectRef")
    secret = context.secrets.get(secret_key)
    if secret is None:
        return KeyText(problem=f"there is no Secret {secret_key.name} in {place}", path=f"{path}.objectRef")
    entry = reference.key or (next(iter(secret.data)) if len(secret.data) == 1 else "")
    if entry not in secret.data:
        known = ", ".join(sorted(secret.data)) or "none"
        return KeyText(problem=f"Secret {secret_key.name} has no entry {entry!r}; it has {known}", path=f"{path}.key")
    try:
        text = base64.b64decode(secret.data[entry], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return KeyText(problem=f"entry {entry!r} of Secret {secret_key.name} is no text", path=f"{path}.key")
    return KeyText(text=text, secret=True, path=path)


def _resolve_remote(key: ObjectKey, path: str, remote: RemoteJWKS, context: KeyContext) -> KeyText:
    source = _source(key, path, remote, context)
    if isinstance(source, DestinationProblem):
        return KeyText(problem=source.message, path=source.path)
    fetched = context.key_sets.get(source, FetchedKeys(jwks=None, problem="the keys have not been fetched yet"))
    return KeyText(text=fetched.jwks, source=source, problem=fetched.problem, path=f"{path}.url")


def _source(key: ObjectKey, path: str, remote: RemoteJWKS, context: KeyContext) -> KeySource | DestinationProblem:
    scheme, separator, rest = remote.url.partition("://")
    if not separator or scheme not in {"http", "https"} or not rest:
        return DestinationProblem(f"{path}.url", "is no http or https URL")
    if remote.destination_ref is None:
        return KeySource(remote.url)
    found = _destination(remote.destination_ref, key, f"{path}.destinationRef", context)
    return found if isinstance(found, DestinationProblem) else KeySource(remote.url, found.name)


def _destination(
    reference: DestinationReference, key: ObjectKey, path: str, context: KeyContext
) -> KeyDestination | DestinationProblem:
    return resolve_key_destination(reference, key, path, context.catalog, context.endpoints, context.trust_domain)


def find_sources(policies: Mapping[ObjectKey, JWTPolicy], context: KeyContext) -> Mapping[KeySource, KeyFetch]:
    """Every remote source that some policy names, and how it is to be fetched: of several wishes the shortest times."""
    sources: dict[KeySource, KeyFetch] = {}
    for key, policy in sorted(policies.items()):
        for name in sorted(policy.spec.config.providers):
            remote = policy.spec.config.providers[name].remote
            if remote is None or context.workspaces.owner(key) is None:
                continue
            source = _source(key, "", remote, context)
            if isinstance(source, KeySource):
                sources[source] = _combine(sources.get(source), _fetch(key, remote, context))
    return sources


def _fetch(key: ObjectKey, remote: RemoteJWKS, context: KeyContext) -> KeyFetch:
    default = KeyFetch()
    endpoints, peer = None, None
    if remote.destination_ref is not None:
        found = _destination(remote.destination_ref, key, "", context)
        endpoints, peer = ((), None) if isinstance(found, DestinationProblem) else (found.endpoints, found.peer)
    retry = remote.retry_policy
    backoff = retry.backoff if retry else None
    base = _seconds(backoff.base_interval if backoff else None, default.retry_base_seconds)
    return KeyFetch(
        endpoints=endpoints,
        peer=peer,
        cache_seconds=_seconds(remote.cache_duration, default.cache_seconds),
        timeout_seconds=_seconds(remote.timeout, default.timeout_seconds),
        retries=default.retries if retry is None or retry.num_retries is None else retry.num_retries,
        retry_base_seconds=base,
        retry_max_seconds=max(base, _seconds(backoff.max_interval if backoff else None, 10 * base)),
        failed_refetch_seconds=_seconds(remote.failed_refetch_duration, default.failed_refetch_seconds),
        policies=(key,),
    )


def _seconds(duration: str | None, default: float) -> float:
    """Zero and less mean the default: a fetch without a pause, or without time, is nobody's wish."""
    try:
        seconds = parse_duration(duration).total_seconds() if duration else 0.0
    except ManifestError:
        seconds = 0.0
    return seconds or default


def _combine(one: KeyFetch | None, other: KeyFetch) -> KeyFetch:
    if one is None:
        return other
    return replace(
        one,
        cache_seconds=min(one.cache_seconds, other.cache_seconds),
        timeout_seconds=min(one.timeout_seconds, other.timeout_seconds),
        retries=max(one.retries, other.retries),
        retry_base_seconds=max(one.retry_base_seconds, other.retry_base_seconds),
        retry_max_seconds=max(one.retry_max_seconds, other.retry_max_seconds),
        failed_refetch_seconds=max(one.failed_refetch_seconds, other.failed_refetch_seconds),
        policies=tuple(sorted({*one.policies, *other.policies})),
    )
