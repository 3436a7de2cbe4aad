"""PolicySet → the configuration of the JWT filter."""

from __future__ import annotations

from envoy.config.core.v3.base_pb2 import DataSource
from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import (
    JwtAuthentication,
    JwtCacheConfig,
    JwtClaimToHeader,
    JwtHeader,
    JwtRequirementOrList,
)
from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtProvider as JwtProviderMessage
from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtRequirement as JwtRequirementMessage

from meshpass.envoy.filters import JWT_FILTER, build_extension_config
from meshpass.envoy.snapshot import Resource
from meshpass.ir import JwtProvider, JwtRequirement, PolicySet

VERDICT_CACHE_SIZE = 1000
"""Verified tokens remembered per provider and worker, until they expire: saves the signature check of a repeated token."""

NO_CLAIM = "\x01"
"""Names no claim. Envoy removes the client's copy of every header named in ``claim_to_headers``, on all routes; with a
claim that no token has, that is all that it does. The value is written by the claim-header filter, which renders lists
and objects as JSON text where ``claim_to_headers`` would write base64."""


def build_jwt_filter(policies: PolicySet) -> Resource:
    """The JWT filter: a requirement for each selection class, and the providers that they name."""
    message = JwtAuthentication(
        providers={provider.name: _build_provider(provider) for provider in policies.providers},
        requirement_map={name: _build_requirement(needed) for name, needed in policies.requirements.items()},
        stat_prefix="meshpass",
    )
    return build_extension_config(JWT_FILTER, message, policies.sources)


def _build_provider(provider: JwtProvider) -> JwtProviderMessage:
    overwritten = sorted({entry.header for entry in provider.claim_headers if not entry.append})
    return JwtProviderMessage(
        issuer=provider.issuer,
        audiences=provider.audiences,
        local_jwks=DataSource(inline_string=provider.jwks),
        from_headers=[JwtHeader(name=header.name, value_prefix=header.prefix) for header in provider.headers],
        from_params=provider.query_parameters,
        forward=provider.keep_token,
        payload_in_metadata=provider.payload_key,
        clock_skew_seconds=provider.clock_skew_seconds,
        jwt_cache_config=JwtCacheConfig(jwt_cache_size=VERDICT_CACHE_SIZE),
        claim_to_headers=[JwtClaimToHeader(header_name=header, claim_name=NO_CLAIM) for header in overwritten],
    )


def _build_requirement(requirement: JwtRequirement) -> JwtRequirementMessage:
    match requirement.providers:
        case ():
            return JwtRequirementMessage()
        case (name,):
            return JwtRequirementMessage(provider_name=name)
        case names:
            any_of = [JwtRequirementMessage(provider_name=name) for name in names]
            return JwtRequirementMessage(requires_any=JwtRequirementOrList(requirements=any_of))
