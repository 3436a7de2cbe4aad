"""Fields that the API has and Meshpass does not act on yet: named in the object's status, never ignored in silence."""

from __future__ import annotations

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
            "spec.tcp[].matchers[]",
            "spec.tcp[].forwardTo.destinations[]",
            "spec.tls[]",
            "spec.weight",
            "spec.failureMode",
            "spec.defaultDestination",
            "spec.http[]",
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
    "AccessPolicy": frozenset({"spec"}),
    "RootTrustPolicy": frozenset({"spec"}),
    "Workspace": frozenset({"spec.workloadClusters[]"}),
    "WorkspaceSettings": frozenset(
        {
            "spec.importFrom[]",
            "spec.exportTo[]",
            "spec.options.serviceIsolation.enabled",
            "spec.options.serviceIsolation.trimProxyConfig",
            "spec.options.serviceIsolation.enforcementLayers.mesh",
            "spec.options.federation",
            "spec.options.eastWestGateways[]",
            "spec.options.virtualDestClientMode",
            "spec.options.trimAllProxyConfig",
        }
    ),
    "KubernetesCluster": frozenset({"spec.clusterDomain"}),
}
"""Kind → schema paths that are acted on, or judged where they are translated; a path stands for what is below it too."""


def find_without_effect(key: ObjectKey, spec: ApiStruct) -> tuple[Finding, ...]:
    """A finding for each field of ``spec`` that is set and not acted on yet; parts of a named field are not repeated."""
    named: list[str] = []
    for _, path in set_paths(spec, ACTED_ON.get(key.kind, frozenset())):
        if not any(path.startswith((f"{shorter}.", f"{shorter}[")) for shorter in named):
            named.append(path)
    return tuple(no_effect(key, path) for path in named)
