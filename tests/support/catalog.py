"""A Catalog from manifests, for tests of what is sent where. Namespaces httpbin and team are in one workspace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tests.support.objects import CLUSTER_ANNOTATION, MANAGEMENT_CLUSTER, object_set

from meshpass.api.admin import Federation, WorkspaceOptions
from meshpass.api.core import EndpointSlice, Pod, Secret, Service
from meshpass.api.external import ExternalEndpoint, ExternalService
from meshpass.api.objectset import ObjectSet
from meshpass.api.virtualdestination import VirtualDestination
from meshpass.api.virtualgateway import VirtualGateway
from meshpass.memo import Memo
from meshpass.translate.catalog import Catalog, make_catalog
from meshpass.translate.credential import index_credentials
from meshpass.translate.endpointindex import EndpointIndex, index_endpoints
from meshpass.translate.filecontent import NO_FILES, FileContents
from meshpass.translate.filecredential import find_file_credentials, read_file_credentials
from meshpass.translate.peer import NO_MODES, find_accepting
from meshpass.translate.sidecar import find_sidecars
from meshpass.translate.workspace import WorkspaceIndex
from meshpass.translate.workspacesettings import EffectiveSettings, SettingsIndex

AUTHORITIES = "/etc/authorities.pem"
CLUSTERS = frozenset({MANAGEMENT_CLUSTER, "cluster1", "cluster2"})
PLACES = {
    (cluster, namespace): workspace
    for cluster in CLUSTERS
    for namespace, workspace in (("httpbin", "team"), ("team", "team"), ("elsewhere", "others"))
}
WORKSPACES = WorkspaceIndex(owners=PLACES, read=frozenset(PLACES), selected={}, findings=())


DOMAINS: Mapping[str, str] = {"cluster2": "mesh.example"}
FEDERATED = replace(
    WORKSPACES,
    settings=SettingsIndex(
        of_workspace={
            "team": EffectiveSettings(
                options=WorkspaceOptions(federation=Federation(enabled=True, host_suffix="federated.example"))
            )
        }
    ),
)
"""The same, where workspace ``team`` federates all of its Services."""


def build_catalog(
    *manifests: Mapping[str, Any],
    objects: ObjectSet | None = None,
    memo: Memo | None = None,
    workspaces: WorkspaceIndex = WORKSPACES,
    system_authorities: str = AUTHORITIES,
    contents: FileContents = NO_FILES,
) -> Catalog:
    """The Catalog of these objects, where files have these contents."""
    known, memo = objects or object_set(*manifests), memo or Memo()
    services = known.all(ExternalService)
    wanted = memo(find_file_credentials, services, known.all(VirtualGateway), workspaces)
    files = memo(read_file_credentials, wanted, contents, memo)
    return memo(
        make_catalog,
        known.all(Service),
        services,
        known.all(ExternalEndpoint),
        known.all(VirtualDestination),
        workspaces,
        CLUSTERS,
        DOMAINS,
        system_authorities,
        memo(index_credentials, known.all(Secret), services, files, memo),
        known.problems,
        memo,
    )


def build_endpoints(
    *manifests: Mapping[str, Any],
    objects: ObjectSet | None = None,
    memo: Memo | None = None,
    has_identities: bool = False,
) -> EndpointIndex:
    """The EndpointIndex of these objects."""
    known, memo = objects or object_set(*manifests), memo or Memo()
    sidecars = memo(find_sidecars, known.all(Pod), known.all(Service))
    accepting = memo(find_accepting, sidecars, NO_MODES) if has_identities else None
    return memo(
        index_endpoints, known.all(EndpointSlice), known.all(Pod), known.all(Service), sidecars, accepting, memo
    )


def messages(catalog: Catalog, manifest: Mapping[str, Any]) -> Iterator[str]:
    """What the catalog says about an object: path and message of each finding."""
    for key, findings in catalog.findings.items():
        if (key.kind, key.name) == (manifest["kind"], manifest["metadata"]["name"]):
            yield from map(str, findings)


def _manifest(api_version: str, kind: str, name: str, place: Mapping[str, Any], **rest: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": place.get("namespace", "httpbin"),
        "labels": dict(place.get("labels", {})),
        "annotations": {CLUSTER_ANNOTATION: place.get("cluster", "cluster1")},
    }
    if "created" in place:
        metadata["creationTimestamp"] = place["created"]
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def external_service(name: str = "outside", *, place: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """An ExternalService in namespace httpbin of cluster1, unless ``place`` says where, when, and with what labels."""
    return _manifest("networking.gloo.solo.io/v2", "ExternalService", name, place or {}, spec=spec)


def external_endpoint(
    name: str = "outside", address: str = "192.0.2.1", *, place: Mapping[str, Any] | None = None, **ports: int
) -> dict[str, Any]:
    """An ExternalEndpoint with the label ``outside: <name>`` and these ports."""
    where = {"labels": {"outside": name}, **(place or {})}
    spec = {"address": address, "ports": [{"name": one, "number": number} for one, number in ports.items()]}
    return _manifest("networking.gloo.solo.io/v2", "ExternalEndpoint", name, where, spec=spec)


def virtual_destination(
    name: str = "virtual", *, place: Mapping[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    """A VirtualDestination."""
    return _manifest("networking.gloo.solo.io/v2", "VirtualDestination", name, place or {}, spec=spec)


def service(name: str = "httpbin", *, place: Mapping[str, Any] | None = None, **ports: int) -> dict[str, Any]:
    """A Service with the label ``app: <name>`` and these ports by name (``_`` stands for a dash)."""
    where = {"labels": {"app": name}, **(place or {})}
    named = [{"name": one.replace("_", "-"), "port": number} for one, number in ports.items()]
    return _manifest("v1", "Service", name, where, spec={"ports": named})


def endpoint_slice(
    name: str,
    *addresses: str,
    place: Mapping[str, Any] | None = None,
    pods: Mapping[str, str] | None = None,
    **ports: int,
) -> dict[str, Any]:
    """The EndpointSlice of a Service; ``pods`` are the names of the pods behind addresses."""
    where = {"labels": {"kubernetes.io/service-name": name}, **(place or {})}
    pods = pods or {}
    endpoints = [
        {"addresses": [one], **({"targetRef": {"kind": "Pod", "name": pods[one]}} if one in pods else {})}
        for one in addresses
    ]
    return _manifest(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        f"{name}-1",
        where,
        addressType="IPv4",
        endpoints=endpoints,
        ports=[{"name": one, "port": number} for one, number in ports.items()],
    )


def pod(name: str, address: str = "", /, **labels: str) -> dict[str, Any]:
    """A pod with these labels."""
    return _manifest("v1", "Pod", name, {"labels": labels}, spec={}, status={"podIP": address, "phase": "Running"})
