"""Mutations that write claims to headers: what is removed first, what is written, and in which order."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import HeaderMutation
from envoy.service.discovery.v3.discovery_pb2 import Resource as DiscoveryResource
from google.protobuf.json_format import MessageToDict

from meshpass.envoy.claim_header import build_claim_header_filter
from meshpass.envoy.filters import Side
from meshpass.ir import ClaimHeader, PayloadRules, Phase, PhasePolicies, PolicySet

Written = tuple[str, str, str]
"""Header, format, action."""
CLAIM = "x-meshpass-claim"
NAMESPACE = "envoy.filters.http.jwt_authn"


def header(name: str, claim: str = "org", **fields: Any) -> ClaimHeader:
    return ClaimHeader(claim=claim, header=name, append=fields.pop("append", False), **fields)


def phase(**payloads: PayloadRules) -> PhasePolicies:
    return PhasePolicies(payloads=MappingProxyType(payloads))


def rules(*headers: ClaimHeader, payload_header: str = "") -> PayloadRules:
    return PayloadRules(claim_headers=headers, payload_header=payload_header)


def build(policies: PolicySet, where: Phase = Phase.PRE_AUTHZ) -> list[str | Written]:
    """Each mutation: the name of a removed header, or what is written."""
    resource = build_claim_header_filter(Side.OUTBOUND, where, policies)
    outer, config, message = DiscoveryResource(), TypedExtensionConfig(), HeaderMutation()
    outer.ParseFromString(resource.wire)
    assert outer.resource.Unpack(config)
    assert config.typed_config.Unpack(message)
    assert config.name == resource.name == f"meshpass.outbound.{where}.claim-headers"
    found: list[str | Written] = []
    for mutation in message.mutations.request_mutations:
        raw = MessageToDict(mutation)
        if "remove" in raw:
            found.append(raw["remove"])
        else:
            action = raw["append"].get("appendAction", "APPEND_IF_EXISTS_OR_ADD")
            found.append((raw["append"]["header"]["key"], raw["append"]["header"]["value"], action))
    return found


def dynamic(key: str, claim: str) -> str:
    return f"%DYNAMIC_METADATA({NAMESPACE}:{key}:{claim})%"


def whole(key: str, claim: str) -> str:
    value = f"metadata.filter_metadata['{NAMESPACE}']['{key}']['{claim}']"
    return f"%CEL({{true: int({value})}}[double(int({value})) == {value}])%"


def value(name: str, key: str = "k", claim: str = "org") -> list[str | Written]:
    """A claim is written as Envoy renders it, and a whole number once more in digits."""
    return [
        (name, dynamic(key, claim), "OVERWRITE_IF_EXISTS_OR_ADD"),
        (name, whole(key, claim), "OVERWRITE_IF_EXISTS_OR_ADD"),
    ]


def test_without_policies_nothing_is_changed() -> None:
    """Most meshes have no claim headers most of the time."""
    assert build(PolicySet()) == []
    assert build(PolicySet(), Phase.POST_AUTHZ) == []


def test_a_header_that_is_overwritten_is_first_taken_from_everyone() -> None:
    """Also from requests on routes without a policy: the application never sees a client's own copy."""
    assert build(PolicySet(pre=phase(k=rules(header("x-org"))))) == ["x-org", *value("x-org")]


def test_headers_of_the_second_phase_are_taken_in_the_first() -> None:
    """What authorization between the phases sees is clean too; they are written in the second."""
    policies = PolicySet(post=phase(k=rules(header("x-org"))))

    assert build(policies) == ["x-org"]
    assert build(policies, Phase.POST_AUTHZ) == value("x-org")


def test_an_appended_header_is_taken_from_nobody() -> None:
    """A comma joins as a second header line does."""
    assert build(PolicySet(pre=phase(k=rules(header("x-org", append=True))))) == [
        CLAIM,
        *value(CLAIM),
        ("x-org", f"%REQ({CLAIM})%", "APPEND_IF_EXISTS_OR_ADD"),
        CLAIM,
    ]


def test_another_delimiter_joins_in_headers_of_the_filters_own() -> None:
    """Which are taken from the client before, and from the request after."""
    found = build(PolicySet(pre=phase(k=rules(header("x-org", append=True, delimiter="%")))))

    names = [entry if isinstance(entry, str) else entry[0] for entry in found]
    assert names == [
        "x-meshpass-claim",
        "x-meshpass-claim",
        "x-meshpass-claim",
        "x-meshpass-joined",
        "x-meshpass-joined",
        "x-meshpass-joined",
        "x-meshpass-joined",
        "x-org",
        "x-meshpass-joined",
        "x-meshpass-claim",
    ]
    assert ("x-meshpass-claim", dynamic("k", "org"), "OVERWRITE_IF_EXISTS_OR_ADD") in found
    # A percent sign is a command's sign to the formatter, and has to be doubled to be itself.
    joined = "%REQ(x-meshpass-joined)%%%%REQ(x-meshpass-claim)%"
    assert ("x-meshpass-joined", joined, "OVERWRITE_IF_EXISTS") in found
    assert ("x-meshpass-joined", "%REQ(x-meshpass-claim)%", "ADD_IF_ABSENT") in found
    assert ("x-org", "%REQ(x-meshpass-joined)%", "OVERWRITE_IF_EXISTS_OR_ADD") in found


def test_where_one_policy_appends_and_another_overwrites_the_clients_copy_waits_aside() -> None:
    """It comes back only with a payload of the policy that appends, and is gone in the end."""
    policies = PolicySet(
        pre=phase(a=rules(header("x-org", append=True)), b=rules(header("x-org"))),
    )
    found = build(policies)

    assert found[0] == "x-meshpass-saved-x-org"
    assert isinstance(found[1], tuple)
    assert found[1][0] == "x-meshpass-saved-x-org"
    assert found[2] == "x-org"
    back = f"%CEL([metadata.filter_metadata['{NAMESPACE}']['a'], request.headers['x-meshpass-saved-x-org']][1])%"
    assert found[3] == ("x-org", back, "OVERWRITE_IF_EXISTS_OR_ADD")
    appended = ("x-org", f"%REQ({CLAIM})%", "APPEND_IF_EXISTS_OR_ADD")
    assert found[4:] == [CLAIM, *value(CLAIM, "a"), appended, CLAIM, *value("x-org", "b")]
    assert build(policies, Phase.POST_AUTHZ) == ["x-meshpass-saved-x-org"]


def test_a_payload_header_is_taken_from_the_client_and_moved_under_its_name() -> None:
    """The JWT filter writes it under a name of ours."""
    assert build(PolicySet(pre=phase(k=rules(payload_header="x-payload")))) == [
        "x-payload",
        ("x-payload", "%REQ(x-meshpass-payload-x-payload)%", "OVERWRITE_IF_EXISTS_OR_ADD"),
        "x-meshpass-payload-x-payload",
    ]


@pytest.mark.parametrize("claim", ["org", "a.b", "solo.io/company", "a_b-c"])
def test_a_plain_claim_is_a_command(claim: str) -> None:
    """Characters that mean nothing to the formatter stay as they are."""
    (_, written, _) = build(PolicySet(pre=phase(k=rules(header("x-org", claim)))))

    assert written == ("x-org", dynamic("k", claim), "OVERWRITE_IF_EXISTS_OR_ADD")


@pytest.mark.parametrize(
    "claim", ["https://a.example/org", "a:b", "a)b", "a%b", "a'b", "a\\b", "ä", "a b", "", "%REQ(x)%"]
)
def test_any_other_claim_is_an_expression_in_which_it_is_only_text(claim: str) -> None:
    """Nothing in its name is left that could end the literal or the command."""
    (_, written, _) = build(PolicySet(pre=phase(k=rules(header("x-org", claim)))))

    assert isinstance(written, tuple)
    start, end = f"%CEL(metadata.filter_metadata['{NAMESPACE}']['k']['", "'])%"
    assert written[1].startswith(start)
    assert written[1].endswith(end)
    literal = written[1][len(start) : -len(end)]
    assert not set(literal) & set("'%():\"")
    assert literal.encode().decode("unicode_escape") == claim


def test_the_order_does_not_depend_on_the_order_of_policies() -> None:
    """Same input, same bytes."""
    one, other = rules(header("x-b"), header("x-a", "a")), rules(header("x-c"))

    assert build(PolicySet(pre=phase(k1=one, k2=other))) == build(PolicySet(pre=phase(k2=other, k1=one)))
