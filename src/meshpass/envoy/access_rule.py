"""AccessRule → an RBAC principal: true for the requests, or the connections, that it allows.

All of a rule is one principal, what is asked of the request too, so that rules can be denied as a whole.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from envoy.config.core.v3.address_pb2 import CidrRange
from envoy.config.rbac.v3.rbac_pb2 import Principal
from envoy.config.route.v3.route_components_pb2 import HeaderMatcher
from envoy.type.matcher.v3.path_pb2 import PathMatcher
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from google.protobuf.wrappers_pb2 import UInt32Value

from meshpass.envoy.access_token import build_token_principal
from meshpass.envoy.glob import build_glob, build_glob_among, build_host_glob
from meshpass.envoy.rbac import all_of, any_of
from meshpass.ir import EVERYBODY, AccessRule, AccessRules, Caller, HeaderCondition

_HOST = ":authority"

_GRPC = all_of(
    (
        Principal(header=HeaderMatcher(name=":method", string_match=StringMatcher(exact="POST"))),
        Principal(
            header=HeaderMatcher(
                name="content-type",
                # gRPC over HTTP2, "Content-Type": application/grpc, and what follows a plus or a semicolon; not gRPC-Web.
                string_match=StringMatcher(safe_regex=RegexMatcher(regex=r"application/grpc(?:[+;].*)?")),
            )
        ),
    )
)


def build_rule(rule: AccessRule, rules: AccessRules) -> Principal:
    """What one of the rules of a port allows."""
    return all_of(_conditions(rule, rules))


def _conditions(rule: AccessRule, rules: AccessRules) -> Iterator[Principal]:
    if EVERYBODY not in rule.callers:
        yield any_of(_build_caller(caller, rules.payload_keys) for caller in rule.callers)
    if rule.peer_blocks:
        yield any_of(Principal(direct_remote_ip=build_cidr(block)) for block in rule.peer_blocks)
    if rule.client_blocks:
        yield any_of(Principal(remote_ip=build_cidr(block)) for block in rule.client_blocks)
    if rule.methods:
        methods = (HeaderMatcher(name=":method", string_match=StringMatcher(exact=method)) for method in rule.methods)
        yield any_of((*(Principal(header=method) for method in methods), *((_GRPC,) if rules.grpc else ())))
    if rule.paths:
        yield any_of(Principal(url_path=PathMatcher(path=build_glob(path))) for path in rule.paths)
    for header in rule.headers:
        yield from _build_header(header)


def _build_caller(caller: Caller, payload_keys: tuple[str, ...]) -> Principal:
    conditions = []
    if caller.identities is not None:
        conditions.append(any_of(map(_build_identity, caller.identities)))
    if caller.token is not None:
        conditions.append(build_token_principal(caller.token, payload_keys))
    return all_of(conditions)


def _build_identity(identity: str) -> Principal:
    name = StringMatcher(prefix=identity) if identity.endswith("/") else StringMatcher(exact=identity)
    return Principal(authenticated=Principal.Authenticated(principal_name=name))


def _build_header(condition: HeaderCondition) -> Iterator[Principal]:
    refuse = build_host_glob if condition.name == _HOST else build_glob_among
    if condition.values:
        yield any_of(
            Principal(header=HeaderMatcher(name=condition.name, string_match=build_glob(value)))
            for value in condition.values
        )
    if condition.not_values:
        refused = any_of(
            Principal(header=HeaderMatcher(name=condition.name, string_match=refuse(value)))
            for value in condition.not_values
        )
        yield Principal(not_id=refused)


def build_cidr(block: str) -> CidrRange:
    """A block of addresses."""
    network = ipaddress.ip_network(block)
    return CidrRange(address_prefix=str(network.network_address), prefix_len=UInt32Value(value=network.prefixlen))
