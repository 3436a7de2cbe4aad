"""The JWT filter: what a requirement lets pass, and that a provider without keys lets nothing."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtAuthentication
from envoy.service.discovery.v3.discovery_pb2 import Resource as DiscoveryResource
from google.protobuf.json_format import MessageToDict

from meshpass.envoy.filters import Side
from meshpass.envoy.jwt import build_jwt_filter
from meshpass.ir import Allow, JwtProvider, JwtRequirement, Phase, PhasePolicies, TokenHeader

PROVIDER = JwtProvider(
    name="me-1",
    issuer="https://me.example",
    audiences=("a", "b"),
    jwks='{"keys":[]}',
    headers=(TokenHeader("X-Auth", "Bearer "), TokenHeader("X-Plain")),
    query_parameters=("t",),
    keep_token=False,
    clock_skew_seconds=7,
    payload_header="",
    payload_key="payload-1",
)
OTHER = replace(PROVIDER, name="you-2", headers=(TokenHeader("X-You"),), query_parameters=())
"""Looks elsewhere."""
SAME = replace(PROVIDER, name="we-3", headers=(TokenHeader("x-auth", "Token "),), query_parameters=())
"""Looks at the same header."""
ME = {"providerName": "me-1"}


def build(policies: PhasePolicies) -> dict[str, Any]:
    outer, config, message = DiscoveryResource(), TypedExtensionConfig(), JwtAuthentication()
    outer.ParseFromString(build_jwt_filter(Side.OUTBOUND, Phase.PRE_AUTHZ, policies, frozenset()).wire)
    assert outer.resource.Unpack(config)
    assert config.name == "meshpass.outbound.pre.jwt"
    assert config.typed_config.Unpack(message)
    return MessageToDict(message)


def requirement(*requirements: JwtRequirement) -> dict[str, Any]:
    policies = PhasePolicies(requirements=MappingProxyType({"class": requirements}), providers=(PROVIDER, OTHER, SAME))
    return build(policies)["requirementMap"]["class"]


def provider(**fields: Any) -> dict[str, Any]:
    return build(PhasePolicies(providers=(replace(PROVIDER, **fields),)))["providers"]["me-1"]


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [
        pytest.param((), {}, id="open"),
        pytest.param((JwtRequirement(providers=("me-1",)),), ME, id="one-provider"),
        pytest.param(
            (JwtRequirement(providers=("me-1", "you-2")),),
            {"requiresAny": {"requirements": [ME, {"providerName": "you-2"}]}},
            id="any-of-two",
        ),
        pytest.param(
            (JwtRequirement(providers=("me-1",), allow=Allow.MISSING),),
            {"requiresAny": {"requirements": [ME, {"allowMissing": {}}]}},
            id="or-missing",
        ),
        pytest.param(
            (JwtRequirement(providers=("me-1",), allow=Allow.MISSING_OR_FAILED),),
            {"requiresAny": {"requirements": [ME, {"allowMissingOrFailed": {}}]}},
            id="or-failed",
        ),
        pytest.param(
            (JwtRequirement(providers=("me-1",)), JwtRequirement(providers=("you-2",))),
            {"requiresAll": {"requirements": [ME, {"providerName": "you-2"}]}},
            id="all-of-two",
        ),
        pytest.param(
            (JwtRequirement(providers=("me-1", "you-2")), JwtRequirement(providers=("we-3",))),
            {
                "requiresAll": {
                    "requirements": [
                        {"requiresAny": {"requirements": [{"providerName": "me-1-kept"}, {"providerName": "you-2"}]}},
                        {"providerName": "we-3"},
                    ]
                }
            },
            id="all-of-two-of-which-the-first-leaves-the-token",
        ),
    ],
)
def test_what_a_class_requires(requirements: tuple[JwtRequirement, ...], expected: dict[str, Any]) -> None:
    """Providers of one requirement are alternatives; several requirements must all hold."""
    assert requirement(*requirements) == expected


def test_who_leaves_the_token_is_the_same_provider_in_all_else() -> None:
    """Only ``forward`` differs; where all requirements have one member each, nobody leaves anything to others."""
    both = (JwtRequirement(providers=("me-1",)), JwtRequirement(providers=("we-3",)))
    names = MappingProxyType({"class": both, "single": (JwtRequirement(providers=("me-1",)),)})

    found = build(PhasePolicies(requirements=names, providers=(PROVIDER, SAME)))["providers"]

    own = {"headerInMetadata", "failedStatusInMetadata"}
    kept, removing = (
        {field: value for field, value in found[name].items() if field not in own} for name in ("me-1-kept", "me-1")
    )
    assert kept == removing | {"forward": True}
    assert "forward" not in found["we-3"]


def test_equal_requirements_of_several_classes_are_all_written() -> None:
    """They are built once, but every class has its own entry."""
    shared = (JwtRequirement(providers=("me-1",)),)
    names = MappingProxyType({"one": shared, "two": shared, "three": ()})

    found = build(PhasePolicies(requirements=names, providers=(PROVIDER,)))["requirementMap"]

    assert found == {"one": ME, "two": ME, "three": {}}


def test_a_provider_is_told_to_envoy_field_by_field() -> None:
    """With the prefixes as they are: Envoy compares them case-sensitively."""
    found = provider()

    assert found["issuer"] == "https://me.example"
    assert found["audiences"] == ["a", "b"]
    assert found["localJwks"] == {"inlineString": '{"keys":[]}'}
    assert found["fromHeaders"] == [{"name": "X-Auth", "valuePrefix": "Bearer "}, {"name": "X-Plain"}]
    assert found["fromParams"] == ["t"]
    assert found["clockSkewSeconds"] == 7
    assert found["payloadInMetadata"] == "payload-1"
    assert found["jwtCacheConfig"]["jwtCacheSize"] > 0
    assert "forward" not in found
    assert "forwardPayloadHeader" not in found


def test_a_kept_token_and_a_payload_header_are_asked_for() -> None:
    """The payload comes under a name of ours, which a client cannot bring along."""
    found = provider(keep_token=True, payload_header="x-payload")

    assert found["forward"] is True
    assert found["forwardPayloadHeader"] == "x-meshpass-payload-x-payload"


def test_a_provider_without_keys_can_only_deny() -> None:
    """Its key set is at a cluster that does not exist; there is no placeholder for a key."""
    found = provider(jwks="")

    assert "localJwks" not in found
    assert found["remoteJwks"]["httpUri"]["cluster"] == "meshpass.no-keys"


def test_a_preflight_passes() -> None:
    """It cannot carry a token (Fetch §3.2.2)."""
    assert build(PhasePolicies())["bypassCorsPreflight"] is True
