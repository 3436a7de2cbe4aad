"""AccessModel: the inbound side of one sidecar, resource by resource, and what it would answer.

An own reading of what is on the wire: listeners, the JWT filter of the first phase, and every RBAC filter. Tokens are known
by their issuer and subject; a provider accepts those of its issuer.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.rbac.v3 import rbac_pb2
from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtAuthentication, PerRouteConfig
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.service.discovery.v3.discovery_pb2 import Resource as DiscoveryResource
from tests.support.reading import read_any

from meshpass.envoy.snapshot import EXTENSION_CONFIG, LISTENER, Resource, Snapshot

RBAC_FILTERS = ("meshpass.inbound.pre.authorization", "meshpass.inbound.access", "meshpass.inbound.post.authorization")


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request that comes to a workload."""

    identity: str | None = None
    """The SPIFFE ID of the caller; None: it comes without TLS."""
    token: tuple[str, str] | None = None
    """Issuer and subject."""
    address: str = "127.0.0.1"
    client: str = ""
    """The address in x-forwarded-for; empty: there is none."""
    method: str = "GET"
    path: str = "/get"
    headers: tuple[tuple[str, str], ...] = ()


class AccessModel:
    """The resources of one sidecar."""

    def __init__(self, snapshot: Snapshot, listener: str = "inbound-8080") -> None:
        self.listener = listener
        self.has: dict[tuple[str, str], Resource] = {}
        for type_url in (EXTENSION_CONFIG, LISTENER):
            for resource in snapshot.of(type_url).values():
                self.take(resource)

    def take(self, resource: Resource) -> None:
        """The resource is there, in the place of the one of its name."""
        self.has[resource.type_url, resource.name] = resource

    @property
    def bound(self) -> Resource:
        """The listener as it is now: connections that begin now keep it."""
        return self.has[LISTENER, self.listener]

    def accepts(self, call: Call, bound: Resource) -> bool:
        """True where a connection for the call can begin."""
        return self._chain(call, bound) is not None

    def passes(self, call: Call, bound: Resource | None = None) -> bool:
        """True if the application gets the request, on a connection that began with that listener, or that begins now."""
        chain = self._chain(call, bound or self.bound)
        if chain is None:
            return False
        manager = read_any(chain.filters[-1].typed_config, HttpConnectionManager)
        (route,) = manager.route_config.virtual_hosts[0].routes
        name = route.metadata.filter_metadata["meshpass"].fields["class"].string_value
        requirement = read_any(route.typed_per_filter_config["meshpass.inbound.pre.jwt"], PerRouteConfig)
        payloads = self._verify(requirement.requirement_name, call)
        if payloads is None:
            return False
        return not any(self._denies(one, name, call, payloads) for one in RBAC_FILTERS)

    @staticmethod
    def _chain(call: Call, bound: Resource) -> Any:
        message = read_any(DiscoveryResource.FromString(bound.wire).resource, Listener)
        for chain in message.filter_chains:
            mutual = chain.HasField("transport_socket")
            if mutual is (call.identity is not None):
                return chain
        return None

    def _unpack(self, type_url: str, name: str) -> Any:
        return DiscoveryResource.FromString(self.has[type_url, name].wire).resource

    def _filter(self, name: str, message: Any) -> Any:
        config = read_any(self._unpack(EXTENSION_CONFIG, name), TypedExtensionConfig)
        return read_any(config.typed_config, message)

    def _verify(self, requirement: str, call: Call) -> dict[str, tuple[str, str]] | None:
        """Payload key → issuer and subject; None if the request is refused."""
        jwt = self._filter("meshpass.inbound.pre.jwt", JwtAuthentication)
        if requirement not in jwt.requirement_map:
            return None
        payloads: dict[str, tuple[str, str]] = {}
        return payloads if self._meets(jwt, jwt.requirement_map[requirement], call, payloads) else None

    def _meets(self, jwt: Any, requirement: Any, call: Call, payloads: dict[str, tuple[str, str]]) -> bool:
        match requirement.WhichOneof("requires_type"):
            case None:
                return True
            case "provider_name":
                provider = jwt.providers[requirement.provider_name]
                if call.token is None or provider.issuer != call.token[0]:
                    return False
                payloads[provider.payload_in_metadata] = call.token
                return True
            case "requires_any":
                return any(self._meets(jwt, one, call, payloads) for one in requirement.requires_any.requirements)
            case "requires_all":
                return all(self._meets(jwt, one, call, payloads) for one in requirement.requires_all.requirements)
            case "allow_missing":
                return call.token is None
            case "allow_missing_or_failed":
                return True
            case other:
                raise AssertionError(f"the model knows no {other}")

    def _denies(self, name: str, selection_class: str, call: Call, payloads: Mapping[str, tuple[str, str]]) -> bool:
        rules = self._filter(name, RBAC).rules
        assert rules.action == rbac_pb2.RBAC.DENY or not rules.policies
        return any(
            any(_permits(one, selection_class) for one in policy.permissions)
            and any(holds(one, call, payloads) for one in policy.principals)
            for policy in rules.policies.values()
        )


def _permits(permission: Any, selection_class: str) -> bool:
    if permission.any:
        return True
    return bool(permission.sourced_metadata.metadata_matcher.value.string_match.exact == selection_class)


def holds(principal: Any, call: Call, payloads: Mapping[str, tuple[str, str]]) -> bool:  # noqa: C901
    """True where a principal of RBAC is true."""
    match principal.WhichOneof("identifier"):
        case "any":
            return bool(principal.any)
        case "not_id":
            return not holds(principal.not_id, call, payloads)
        case "and_ids":
            return all(holds(one, call, payloads) for one in principal.and_ids.ids)
        case "or_ids":
            return any(holds(one, call, payloads) for one in principal.or_ids.ids)
        case "authenticated":
            return call.identity is not None and like(principal.authenticated.principal_name, call.identity)
        case "direct_remote_ip":
            return _within(call.address, principal.direct_remote_ip)
        case "remote_ip":
            return _within(call.client or call.address, principal.remote_ip)
        case "header":
            known = {":method": call.method, **dict(call.headers)}
            value = known.get(principal.header.name)
            return value is not None and like(principal.header.string_match, value)
        case "url_path":
            return like(principal.url_path.path, call.path)
        case "sourced_metadata":
            return _in_payload(principal.sourced_metadata.metadata_matcher, payloads)
        case other:
            raise AssertionError(f"the model knows no {other}")


def _in_payload(matcher: Any, payloads: Mapping[str, tuple[str, str]]) -> bool:
    key, *path = (segment.key for segment in matcher.path)
    if key not in payloads:
        return False
    value = dict(zip(("iss", "sub"), payloads[key], strict=True)).get(path[0]) if path else ""
    if matcher.value.present_match:
        return value is not None
    return value is not None and like(matcher.value.string_match, value)


def like(matcher: Any, text: str) -> bool:
    """True for a text that a StringMatcher matches."""
    match matcher.WhichOneof("match_pattern"):
        case "exact":
            return bool(text == matcher.exact)
        case "prefix":
            return text.startswith(matcher.prefix)
        case "suffix":
            return text.endswith(matcher.suffix)
        case "safe_regex":
            expression = re.sub(r"\\x\{([0-9a-f]+)\}", _character, matcher.safe_regex.regex)
            return re.fullmatch(expression, text) is not None
        case other:
            raise AssertionError(f"the model knows no {other}")


def _character(found: re.Match[str]) -> str:
    return re.escape(chr(int(found[1], 16)))


def _within(address: str, block: Any) -> bool:
    network = ipaddress.ip_network(f"{block.address_prefix}/{block.prefix_len.value}")
    return ipaddress.ip_address(address) in network
