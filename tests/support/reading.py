"""Reading of a Snapshot as an Envoy reads it: what holds on each route, and what refers to what.

An own reading of the protobuf, apart from the code that wrote it, so that tests do not believe what they test.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.rbac.v3 import rbac_pb2
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtAuthentication, PerRouteConfig
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext, UpstreamTlsContext
from envoy.service.discovery.v3.discovery_pb2 import Resource as DiscoveryResource

from meshpass.envoy.snapshot import CLUSTER, ENDPOINTS, EXTENSION_CONFIG, LISTENER, ROUTES, SECRET, Resource, Snapshot

DENIED = "denied"
OPEN = "open"
UNKNOWN = "unknown requirement"

STATIC_FILTERS = frozenset({"envoy.filters.http.cors", "envoy.filters.http.fault"})
"""Filters that are written in the listeners."""

Verdict = str | frozenset[str]
"""DENIED, OPEN, UNKNOWN (which Envoy refuses), or the names of the providers of which one has to accept a token."""


def read_any(packed: Any, message: Any) -> Any:
    """The message in an Any; AssertionError if it is another type's."""
    found = message()
    assert packed.Unpack(found), f"{packed.type_url} is no {message.DESCRIPTOR.full_name}"
    return found


@dataclass(frozen=True)
class Reading:
    """One Snapshot, unpacked."""

    snapshot: Snapshot

    def _messages(self, type_url: str) -> dict[str, Any]:
        return {name: DiscoveryResource.FromString(one.wire) for name, one in self.snapshot.of(type_url).items()}

    @cached_property
    def filters(self) -> Mapping[str, Any]:
        """Name of a filter → its configuration, still in an Any."""
        found = {}
        for name, resource in self._messages(EXTENSION_CONFIG).items():
            config = read_any(resource.resource, TypedExtensionConfig)
            assert config.name == name
            found[name] = config.typed_config
        return found

    @cached_property
    def jwt(self) -> Mapping[str, Any]:
        """Name → JwtAuthentication."""
        return {
            n: read_any(c, JwtAuthentication) for n, c in self.filters.items() if c.Is(JwtAuthentication.DESCRIPTOR)
        }

    @cached_property
    def denied_classes(self) -> frozenset[str]:
        """The classes on which an RBAC filter refuses every request."""
        found: set[str] = set()
        for config in self.filters.values():
            if config.Is(RBAC.DESCRIPTOR):
                rules = read_any(config, RBAC).rules
                if rules.action != rbac_pb2.RBAC.DENY:
                    assert not rules.policies, "an ALLOW list would refuse all other routes"
                    continue
                for policy in rules.policies.values():
                    if any(principal.any for principal in policy.principals):
                        found.update(self._classes(policy.permissions))
        return frozenset(found)

    @staticmethod
    def _classes(permissions: Iterable[Any]) -> Iterator[str]:
        for permission in permissions:
            matcher = permission.sourced_metadata.metadata_matcher
            assert permission.sourced_metadata.metadata_source == rbac_pb2.MetadataSource.ROUTE
            assert (matcher.filter, [segment.key for segment in matcher.path]) == ("meshpass", ["class"])
            yield matcher.value.string_match.exact

    @cached_property
    def chains(self) -> Mapping[str, Any]:
        """Name of a listener, or ``<listener>/<chain>`` of a gateway's → its FilterChain."""
        found = {}
        for name, resource in self._messages(LISTENER).items():
            for chain in read_any(resource.resource, Listener).filter_chains:
                found[f"{name}/{chain.name}" if chain.name else name] = chain
        return found

    @cached_property
    def listeners(self) -> Mapping[str, Any]:
        """Name as in ``chains`` → HttpConnectionManager; those that speak no HTTP are not in it."""
        return {
            name: read_any(chain.filters[-1].typed_config, HttpConnectionManager)
            for name, chain in self.chains.items()
            if not chain.filters[-1].typed_config.Is(TcpProxy.DESCRIPTOR)
        }

    @cached_property
    def tcp_clusters(self) -> Mapping[str, tuple[str, ...]]:
        """Name as in ``chains`` → the clusters that connections are passed on to."""
        found = {}
        for name, chain in self.chains.items():
            if chain.filters[-1].typed_config.Is(TcpProxy.DESCRIPTOR):
                proxy = read_any(chain.filters[-1].typed_config, TcpProxy)
                found[name] = tuple(
                    filter(None, (proxy.cluster, *(one.name for one in proxy.weighted_clusters.clusters)))
                )
        return found

    @cached_property
    def clusters(self) -> Mapping[str, Any]:
        """Name → Cluster."""
        return {name: read_any(one.resource, Cluster) for name, one in self._messages(CLUSTER).items()}

    @cached_property
    def wanted_secrets(self) -> frozenset[str]:
        """The secrets that listeners and clusters name."""
        found: set[str] = set()
        for chain in self.chains.values():
            if chain.HasField("transport_socket"):
                found.update(secrets_of(read_any(chain.transport_socket.typed_config, DownstreamTlsContext)))
        for cluster in self.clusters.values():
            if cluster.HasField("transport_socket"):
                found.update(secrets_of(read_any(cluster.transport_socket.typed_config, UpstreamTlsContext)))
        return frozenset(found)

    @cached_property
    def route_configurations(self) -> Mapping[str, Any]:
        """Name → RouteConfiguration, by RDS."""
        return {name: read_any(one.resource, RouteConfiguration) for name, one in self._messages(ROUTES).items()}

    @property
    def routes(self) -> Iterator[Any]:
        """Every route of RDS."""
        for configuration in self.route_configurations.values():
            for host in configuration.virtual_hosts:
                yield from host.routes

    @property
    def inbound_routes(self) -> Iterator[Any]:
        """Every route that is written in a listener."""
        for manager in self.listeners.values():
            for host in manager.route_config.virtual_hosts:
                yield from host.routes

    def verdict(self, route: Any) -> Verdict:
        """What holds on a route."""
        if self.class_of(route) in self.denied_classes:
            return DENIED
        needed: set[str] = set()
        for name, config in route.typed_per_filter_config.items():
            if not config.Is(PerRouteConfig.DESCRIPTOR):
                continue
            requirement = read_any(config, PerRouteConfig).requirement_name
            table = self.jwt[name].requirement_map
            if requirement not in table:
                return UNKNOWN
            needed.update(providers_of(table[requirement]))
        return frozenset(needed) if needed else OPEN

    @staticmethod
    def class_of(route: Any) -> str:
        """The selection class in a route's metadata."""
        return str(route.metadata.filter_metadata["meshpass"]["class"])

    def issuers(self, verdict: Verdict) -> frozenset[str]:
        """The issuers of the providers of a verdict; none if it is no requirement."""
        if isinstance(verdict, str):
            return frozenset()
        known = {name: one.issuer for config in self.jwt.values() for name, one in config.providers.items()}
        return frozenset(known[name] for name in verdict)

    def verdicts(self) -> dict[str, Verdict]:
        """Selection class → what holds on its routes, of both sides."""
        found: dict[str, Verdict] = {}
        for route in (*self.routes, *self.inbound_routes):
            verdict = self.verdict(route)
            assert found.setdefault(self.class_of(route), verdict) == verdict, "one class, two verdicts"
        return found

    def route_verdicts(self) -> dict[tuple[str, bytes], Verdict]:
        """Virtual host or listener, and match → what holds on the route; of equal matches the first, which Envoy takes."""
        found: dict[tuple[str, bytes], Verdict] = {}
        hosts = [(one.name, one) for table in self.route_configurations.values() for one in table.virtual_hosts]
        hosts += [(name, one) for name, http in self.listeners.items() for one in http.route_config.virtual_hosts]
        for name, host in hosts:
            for route in host.routes:
                found.setdefault((name, route.match.SerializeToString(deterministic=True)), self.verdict(route))
        return found

    def dangling(self) -> list[str]:
        """Every reference that leads to nothing."""
        clusters, wrong = set(self.snapshot.of(CLUSTER)), []
        by_eds = {name for name, cluster in self.clusters.items() if cluster.type == Cluster.EDS}
        wrong += [f"cluster {name} without endpoints" for name in by_eds ^ set(self.snapshot.of(ENDPOINTS))]
        wrong += [f"wants secret {name}" for name in self.wanted_secrets - set(self.snapshot.of(SECRET))]
        for name, wanted_clusters in self.tcp_clusters.items():
            wrong += [f"listener {name} wants cluster {one}" for one in wanted_clusters if one not in clusters]
        for name, manager in self.listeners.items():
            wanted = manager.rds.route_config_name
            if wanted and wanted not in self.route_configurations:
                wrong.append(f"listener {name} wants routes {wanted}")
            for one in manager.http_filters:
                if one.HasField("config_discovery") and one.name not in self.filters:
                    wrong.append(f"listener {name} wants filter {one.name}")
            for host in manager.route_config.virtual_hosts:
                wrong += [f"inbound {name}: {text}" for route in host.routes for text in self._route_dangling(route)]
        for route in self.routes:
            wrong += [f"route {route.name}: {text}" for text in self._route_dangling(route)]
        for name, config in self.jwt.items():
            needed = {one for requirement in config.requirement_map.values() for one in providers_of(requirement)}
            wrong += [f"{name} wants provider {one}" for one in needed - set(config.providers)]
        return wrong

    def awaited(self) -> frozenset[str]:
        """What ``dangling`` may say while the Snapshot is being sent.

        Envoy uses no new cluster or listener before its endpoints, secrets and routes have come.
        """
        endpoints = {f"cluster {name} without endpoints" for name in self.clusters}
        secrets = {f"wants secret {name}" for name in self.snapshot.of(SECRET)}
        names = {(name, manager.rds.route_config_name) for name, manager in self.listeners.items()}
        return frozenset({*endpoints, *secrets, *(f"listener {name} wants routes {wanted}" for name, wanted in names)})

    def _route_dangling(self, route: Any) -> Iterator[str]:
        for name in clusters_of(route):
            if name not in self.snapshot.of(CLUSTER):
                yield f"wants cluster {name}"
        for name, config in route.typed_per_filter_config.items():
            if name in STATIC_FILTERS:
                continue
            if name not in self.filters:
                yield f"configures filter {name}"
            elif config.Is(PerRouteConfig.DESCRIPTOR):
                wanted = read_any(config, PerRouteConfig).requirement_name
                if wanted not in self.jwt[name].requirement_map:
                    yield f"wants requirement {wanted}"


def clusters_of(route: Any) -> tuple[str, ...]:
    """The clusters that a route sends to."""
    if not route.HasField("route"):
        return ()
    if route.route.cluster:
        return (str(route.route.cluster),)
    return tuple(str(one.name) for one in route.route.weighted_clusters.clusters)


def secrets_of(context: Any) -> Iterator[str]:
    """The secrets that a TLS context names."""
    common = context.common_tls_context
    for one in common.tls_certificate_sds_secret_configs:
        yield str(one.name)
    if common.HasField("combined_validation_context"):
        yield str(common.combined_validation_context.validation_context_sds_secret_config.name)


def providers_of(requirement: Any) -> Iterator[str]:
    """The providers that a JwtRequirement names, at any depth."""
    match requirement.WhichOneof("requires_type"):
        case "provider_name":
            yield str(requirement.provider_name)
        case "provider_and_audiences":
            yield str(requirement.provider_and_audiences.provider_name)
        case "requires_any":
            for inner in requirement.requires_any.requirements:
                yield from providers_of(inner)
        case "requires_all":
            for inner in requirement.requires_all.requirements:
                yield from providers_of(inner)
        case _:
            return


def same_bytes(one: Snapshot, other: Snapshot) -> bool:
    """True when both tell an Envoy the same."""
    return _wire(one) == _wire(other)


def _wire(snapshot: Snapshot) -> dict[tuple[str, str], bytes]:
    resources: Iterable[Resource] = (one for of_type in snapshot.resources.values() for one in of_type.values())
    return {(one.type_url, one.name): one.wire for one in resources}
