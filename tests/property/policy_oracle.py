"""Which policy holds on a route, worked out anew from the manifests alone: what the API's text says, and no more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from tests.property.core_strategies import BROKEN_CONFIGS, issuer_of, sound_config
from tests.support.objects import CLUSTER_ANNOTATION

Manifest = Mapping[str, Any]


def cluster_of(raw: Manifest) -> str:
    return raw["metadata"]["annotations"][CLUSTER_ANNOTATION]


def age_of(raw: Manifest) -> tuple[str, ...]:
    metadata = raw["metadata"]
    created = metadata.get("creationTimestamp") or "youngest"
    return (created, metadata["namespace"], metadata["name"], cluster_of(raw))


class PolicyOracle:
    """Answers about the routes of a generated mesh, by the names that they have in a Snapshot."""

    def __init__(self, mesh: list[dict[str, Any]]) -> None:
        kinds: dict[str, list[Manifest]] = {}
        for raw in mesh:
            kinds.setdefault(raw["kind"], []).append(raw)
        self._workspaces = sorted(kinds.get("Workspace", ()), key=age_of)
        self._policies = sorted(kinds.get("JWTPolicy", ()), key=age_of)
        self._services = {
            (cluster_of(raw), raw["metadata"]["namespace"], raw["metadata"]["name"]): raw
            for raw in kinds.get("Service", ())
        }
        self._routes: dict[str, tuple[Manifest, Manifest]] = {}
        for table in kinds.get("RouteTable", ()):
            for route in table["spec"]["http"]:
                place = (table["metadata"]["name"], table["metadata"]["namespace"], cluster_of(table))
                self._routes[".".join((route["name"], *place))] = (table, route)

    def knows(self, route: str) -> bool:
        """True for routes of tables; the others are made for Services and for unknown hosts."""
        return route in self._routes

    def winner(self, route: str) -> Manifest | None:
        """The policy that holds, where all selectors are well-formed."""
        return next(iter(self.certain_selectors(route)), None)

    def certain_selectors(self, route: str) -> list[Manifest]:
        """The policies, oldest first, that select the route by a selector that is well-formed."""
        table, http = self._routes[route]
        home = self._owner(table)
        return [
            policy
            for policy in self._policies
            if home is not None and self._owner(policy) == home and self._selects(policy["spec"], table, http, home)
        ]

    def destination_policies(self, namespace: str) -> list[tuple[int, Manifest]]:
        """(port, policy) for each Service that leads to the pod of a namespace in cluster1: the oldest that selects it."""
        found = []
        for key, service in self._services.items():
            if key[:2] != ("cluster1", namespace) or service["spec"].get("selector") != {"app": namespace}:
                continue
            home = self._owner(service)
            for port in service["spec"]["ports"]:
                winner = next(
                    (one for one in self._policies if self._guards(one, key, port) and self._owner(one) == home), None
                )
                if winner is not None and home is not None:
                    found.append((port["port"], winner))
        return found

    def _guards(self, policy: Manifest, key: tuple[str, str, str], port: Manifest) -> bool:
        wanted = policy["spec"].get("applyToDestinations") or ()
        return any(self._is_wanted(one, key, port) for one in wanted)

    @staticmethod
    def issuer(policy: Manifest) -> str:
        return issuer_of(cluster_of(policy), policy["metadata"]["namespace"], policy["metadata"]["name"])

    @staticmethod
    def is_sound(policy: Manifest) -> bool:
        place = (cluster_of(policy), policy["metadata"]["namespace"], policy["metadata"]["name"])
        config = policy["spec"]["config"]
        assert config == sound_config(*place) or config in BROKEN_CONFIGS
        return config == sound_config(*place)

    def sound_issuers(self) -> set[str]:
        """The issuers of all policies. One with garbage in it has to deny, but garbage may also be no harm."""
        return {self.issuer(policy) for policy in self._policies}

    def _owner(self, raw: Manifest) -> str | None:
        place = (cluster_of(raw), raw["metadata"]["namespace"])
        return next((one["metadata"]["name"] for one in self._workspaces if _claims(one, *place)), None)

    def _selects(self, spec: Any, table: Manifest, http: Manifest, home: str) -> bool:
        if not isinstance(spec, dict):
            return True
        routes, destinations = spec.get("applyToRoutes"), spec.get("applyToDestinations")
        if not routes and isinstance(routes, list | None):
            # Without any selector of routes a policy is for all, unless it is for destinations.
            return not destinations and isinstance(destinations, list | None)
        if not isinstance(routes, list):
            return False
        return any(_is_selector(one) and self._entry_selects(one, table, http, home) for one in routes)

    def _entry_selects(self, entry: Manifest, table: Manifest, http: Manifest, home: str) -> bool:
        if "withDestinations" in entry:
            return any(self._is_wanted(entry["withDestinations"], *found) for found in self._destinations(table, http))
        wanted = entry.get("route", {})
        labels = {**table["metadata"]["labels"], **http["labels"]}
        return (
            all(labels.get(name) == value for name, value in wanted.get("labels", {}).items())
            and wanted.get("namespace") in {None, "", table["metadata"]["namespace"]}
            and wanted.get("cluster") in {None, "", cluster_of(table)}
            and wanted.get("workspace") in {None, "", home}
        )

    def _destinations(self, table: Manifest, http: Manifest) -> Iterator[tuple[tuple[str, str, str], dict[str, Any]]]:
        """The (Service, port) that a route sends to, of those that there are."""
        for one in http.get("forwardTo", {}).get("destinations", ()):
            ref = one["ref"]
            key = (
                ref.get("cluster", cluster_of(table)),
                ref.get("namespace", table["metadata"]["namespace"]),
                ref["name"],
            )
            if key not in self._services:
                continue
            ports = self._services[key]["spec"]["ports"]
            wanted = one.get("port")
            fitting = [port for port in ports if wanted in ({"number": port["port"]}, {"name": port["name"]})]
            if wanted is None and len(ports) == 1:
                fitting = ports
            if fitting:
                yield key, fitting[0]

    def _is_wanted(self, wanted: Manifest, key: tuple[str, str, str], port: Manifest) -> bool:
        if wanted.get("port") not in (None, {}, {"number": port["port"]}, {"name": port["name"]}):
            return False
        selector = wanted.get("selector", {})
        cluster, namespace, name = key
        labels = self._services[key]["metadata"]["labels"]
        return (
            selector.get("name") in {None, "", name}
            and selector.get("namespace") in {None, "", namespace}
            and selector.get("cluster") in {None, "", cluster}
            and all(labels.get(label) == value for label, value in selector.get("labels", {}).items())
        )


def _claims(workspace: Manifest, cluster: str, namespace: str) -> bool:
    return any(
        # The management cluster is read whichever clusters are selected.
        (cluster == "mgmt" or fnmatchcase(cluster, selector["name"] or "*"))
        and any(fnmatchcase(namespace, wanted["name"]) for wanted in selector["namespaces"])
        for selector in workspace["spec"]["workloadClusters"]
    )


def _is_selector(entry: Any) -> bool:
    """True for an entry of applyToRoutes that is well-formed in all its parts; others are read as wider, or not at all."""
    if not isinstance(entry, dict) or not entry.keys() <= {"route", "withDestinations"} or len(entry) > 1:
        return False
    if "route" in entry:
        return _is_object(entry["route"], texts={"namespace", "cluster", "workspace"})
    wanted = entry.get("withDestinations", {})
    if not isinstance(wanted, dict) or not wanted.keys() <= {"selector", "port"}:
        return False
    port = wanted.get("port", {})
    return _is_object(wanted.get("selector", {}), texts={"name", "namespace", "cluster"}) and port in (
        {},
        {"number": 80},
        {"name": "second"},
    )


def _is_object(value: Any, *, texts: set[str]) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() <= texts | {"labels"}
        and all(isinstance(value[name], str) for name in value.keys() & texts)
        and isinstance(value.get("labels", {}), dict)
        and all(isinstance(inner, str) for pair in value.get("labels", {}).items() for inner in pair)
    )
