"""PhasePolicies → the configuration of the JWT filter."""

from __future__ import annotations

from envoy.config.core.v3.base_pb2 import DataSource
from envoy.config.core.v3.http_uri_pb2 import HttpUri
from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import (
    JwtAuthentication,
    JwtCacheConfig,
    JwtHeader,
    JwtRequirementAndList,
    JwtRequirementOrList,
    RemoteJwks,
)
from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtProvider as JwtProviderMessage
from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtRequirement as JwtRequirementMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty

from meshpass.envoy.filters import (
    FAILED_KEY,
    PAYLOAD_HEADER,
    Side,
    Stage,
    accepted_key,
    build_extension_config,
    filter_name,
)
from meshpass.envoy.kept_token import leave_to_later
from meshpass.envoy.snapshot import Resource
from meshpass.ir import Allow, JwtProvider, JwtRequirement, ObjectRef, Phase, PhasePolicies

VERDICT_CACHE_SIZE = 1000
"""Verified tokens remembered per provider and worker, until they expire: saves the signature check of a repeated token."""

NO_KEYS = RemoteJwks(
    http_uri=HttpUri(uri="http://keys.invalid/", cluster="meshpass.no-keys", timeout=Duration(seconds=1))
)
"""A key set whose cluster does not exist. Envoy answers a token as it does when a fetch failed: 401, at once."""


def build_jwt_filter(side: Side, phase: Phase, policies: PhasePolicies, sources: frozenset[ObjectRef]) -> Resource:
    """The JWT filter: a requirement for each selection class, and the providers that they name."""
    # Many classes, few different requirements; found by identity, because hashing them would cost more than all else.
    different = {id(needed): needed for needed in policies.requirements.values()}
    providers = {provider.name: provider for provider in policies.providers}
    built = {}
    for identity, needed in different.items():
        requirements, kept = leave_to_later(needed, providers) if len(needed) > 1 else (needed, ())
        built[identity] = _build_all(requirements)
        providers.update({provider.name: provider for provider in kept})
    message = JwtAuthentication(
        providers={name: _build_provider(provider) for name, provider in providers.items()},
        requirement_map={name: built[id(needed)] for name, needed in policies.requirements.items()},
        # A preflight carries no token and reveals nothing (Fetch §3.2.2); OPTIONS without Origin is no preflight.
        bypass_cors_preflight=True,
        stat_prefix=f"{side}.{phase}",
    )
    return build_extension_config(filter_name(side, phase, Stage.JWT), message, sources)


def _build_provider(provider: JwtProvider) -> JwtProviderMessage:
    message = JwtProviderMessage(
        issuer=provider.issuer,
        audiences=provider.audiences,
        from_headers=[JwtHeader(name=header.name, value_prefix=header.prefix) for header in provider.headers],
        from_params=provider.query_parameters,
        forward=provider.keep_token,
        forward_payload_header=PAYLOAD_HEADER + provider.payload_header if provider.payload_header else "",
        payload_in_metadata=provider.payload_key,
        header_in_metadata=accepted_key(provider),
        failed_status_in_metadata=FAILED_KEY + provider.name,
        clock_skew_seconds=provider.clock_skew_seconds,
        jwt_cache_config=JwtCacheConfig(jwt_cache_size=VERDICT_CACHE_SIZE),
    )
    if provider.jwks:
        message.local_jwks.CopyFrom(DataSource(inline_string=provider.jwks))
    else:
        message.remote_jwks.CopyFrom(NO_KEYS)
    return message


def _build_all(requirements: tuple[JwtRequirement, ...]) -> JwtRequirementMessage:
    match requirements:
        case ():
            return JwtRequirementMessage()
        case (only,):
            return _build_requirement(only)
        case several:
            all_of = JwtRequirementAndList(requirements=[_build_requirement(one) for one in several])
            return JwtRequirementMessage(requires_all=all_of)


def _build_requirement(requirement: JwtRequirement) -> JwtRequirementMessage:
    any_of = [JwtRequirementMessage(provider_name=name) for name in requirement.providers]
    match requirement.allow:
        case Allow.MISSING:
            any_of.append(JwtRequirementMessage(allow_missing=Empty()))
        case Allow.MISSING_OR_FAILED:
            any_of.append(JwtRequirementMessage(allow_missing_or_failed=Empty()))
        case Allow.NOTHING:
            pass
    if len(any_of) == 1:
        return any_of[0]
    return JwtRequirementMessage(requires_any=JwtRequirementOrList(requirements=any_of))
