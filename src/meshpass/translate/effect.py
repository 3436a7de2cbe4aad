"""Fields that the API has and Meshpass does not act on yet: named in the object's status, never ignored in silence."""

from __future__ import annotations

from collections.abc import Iterable

from meshpass.api.fieldpath import set_paths
from meshpass.api.objectset import ObjectKey
from meshpass.api.struct import ApiStruct
from meshpass.translate.finding import Finding, no_effect

ACTED_ON: dict[str, frozenset[str]] = {
    "JWTPolicy": frozenset(
        {
            "spec.applyToRoutes[]",
            "spec.applyToDestinations[]",
            "spec.config",
        }
    ),
    "RouteTable": frozenset(
        {
            "spec.hosts[]",
            "spec.virtualGateways[]",
            "spec.workloadSelectors[]",
            "spec.tcp[]",
            "spec.tls[]",
            "spec.weight",
            "spec.failureMode",
            "spec.defaultDestination",
            "spec.http[].name",
            "spec.http[].labels{}",
            "spec.http[].matchers[].uri",
            "spec.http[].matchers[].headers[]",
            "spec.http[].matchers[].queryParameters[]",
            "spec.http[].matchers[].method",
            "spec.http[].matchers[].port",
            "spec.http[].forwardTo",
            "spec.http[].delegate",
            "spec.http[].redirect",
            "spec.http[].directResponse",
            "spec.http[].graphql",
        }
    ),
    "VirtualGateway": frozenset(
        {
            "spec.workloads[]",
            "spec.listeners[].port",
            "spec.listeners[].tls",
            "spec.listeners[].httpsRedirect",
            "spec.listeners[].http",
            "spec.listeners[].tcp",
            "spec.listeners[].allowedRouteTables[].host",
            "spec.listeners[].allowedRouteTables[].selector",
            "spec.listeners[].appProtocol",
        }
    ),
    # What of these has no effect is told where they are translated, together with what is wrong.
    "VirtualDestination": frozenset({"spec"}),
    "ExternalService": frozenset({"spec"}),
    "ExternalEndpoint": frozenset({"spec"}),
    "CORSPolicy": frozenset({"spec"}),
    "RetryTimeoutPolicy": frozenset({"spec"}),
    "FaultInjectionPolicy": frozenset({"spec"}),
    "HeaderManipulationPolicy": frozenset({"spec"}),
    "Workspace": frozenset({"spec.workloadClusters[]"}),
}
"""Kind → schema paths that are acted on, or judged where they are translated; a path stands for what is below it too."""

EMPTY_OBJECTS = frozenset({"spec.http[]", "spec.http[].matchers[]"})
"""Paths that say nothing by themselves: a field below them has its own effect or none."""


def find_without_effect(key: ObjectKey, spec: ApiStruct) -> tuple[Finding, ...]:
    """A finding for each field of ``spec`` that is set and not acted on yet; parts of a named field are not repeated."""
    named: list[str] = []
    for schema_path, path in set_paths(spec):
        if schema_path in EMPTY_OBJECTS or _acted_on(ACTED_ON.get(key.kind, frozenset()), schema_path):
            continue
        if not any(path.startswith((f"{shorter}.", f"{shorter}[")) for shorter in named):
            named.append(path)
    return tuple(no_effect(key, path) for path in named)


def _acted_on(known: Iterable[str], schema_path: str) -> bool:
    return any(schema_path == path or schema_path.startswith((f"{path}.", f"{path}[", f"{path}{{")) for path in known)
