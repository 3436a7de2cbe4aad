"""Kinds of ``admin.gloo.solo.io/v2``: Workspace, WorkspaceSettings, KubernetesCluster."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from meshpass.api.common import (
    ClientMode,
    EnforcementLayers,
    NullableBool,
    ObjectSelector,
    PortOrZero,
    PortSelector,
)
from meshpass.api.metadata import ApiObject
from meshpass.api.status import ObjectStatus, WorkspaceSettingsStatus, WorkspaceStatus
from meshpass.api.struct import ApiStruct, doc


class NamespaceSelector(ApiStruct):
    """Namespaces by name and label."""

    name: Annotated[str, doc("Name, * is a wildcard")] = ""
    labels: Annotated[Mapping[str, str], doc("Labels of the namespace, all of them")] = {}
    config_enabled: Annotated[bool | None, doc("Read configuration from here; unset everywhere is true")] = None


class ClusterSelector(ApiStruct):
    """Clusters by name and label, and namespaces in them."""

    name: Annotated[str, doc("Name, * is a wildcard; empty is any")] = ""
    selector: Annotated[Mapping[str, str], doc("Labels of the KubernetesCluster, all of them")] = {}
    namespaces: Annotated[tuple[NamespaceSelector, ...], doc("Namespaces taken from these clusters")] = ()
    config_enabled: Annotated[bool | None, doc("Read configuration from here; unset everywhere is true")] = None


class WorkspaceSpec(ApiStruct):
    """Which namespaces belong together."""

    workload_clusters: Annotated[tuple[ClusterSelector, ...], doc("Clusters and namespaces included")] = ()


class Workspace(ApiObject):
    """Groups namespaces of several clusters under one team."""

    spec: Annotated[WorkspaceSpec, doc("Clusters and namespaces")] = WorkspaceSpec()
    status: Annotated[WorkspaceStatus | None, doc("What became of it; written by the control plane")] = None


class SharedKind(StrEnum):
    """Kinds that workspaces share."""

    ALL = "ALL"
    ROUTE_TABLE = "ROUTE_TABLE"
    SERVICE = "SERVICE"
    VIRTUAL_DESTINATION = "VIRTUAL_DESTINATION"
    EXTERNAL_SERVICE = "EXTERNAL_SERVICE"
    API_DOC = "API_DOC"
    GRAPHQL_RESOLVER_MAP = "GRAPHQL_RESOLVER_MAP"
    GRAPHQL_SCHEMA = "GRAPHQL_SCHEMA"
    GRAPHQL_STITCHED_SCHEMA = "GRAPHQL_STITCHED_SCHEMA"
    EXTERNAL_WORKLOAD = "EXTERNAL_WORKLOAD"


class WorkspaceSelector(ApiStruct):
    """Workspaces by name and label."""

    name: Annotated[str, doc("Name, * is a wildcard")] = ""
    selector: Annotated[Mapping[str, str], doc("Labels of the Workspace, all of them")] = {}


class SharedResources(ApiStruct):
    """Objects that are shared."""

    kind: Annotated[SharedKind, doc("Kind of the objects")] = SharedKind.ALL
    labels: Annotated[Mapping[str, str], doc("Labels of the objects, all of them")] = {}
    name: Annotated[str, doc("Exact name; empty is any")] = ""
    namespace: Annotated[str, doc("Namespace of the objects; empty is any")] = ""
    cluster: Annotated[str, doc("Cluster of the objects; empty is any")] = ""


class WorkspaceObjectSelector(ApiStruct):
    """Objects shared with workspaces."""

    workspaces: Annotated[tuple[WorkspaceSelector, ...], doc("The other workspaces")] = ()
    resources: Annotated[tuple[SharedResources, ...], doc("Which objects; empty is all that can be shared")] = ()


class ServiceIsolation(ApiStruct):
    """Keep out workspaces that do not import."""

    enabled: Annotated[bool, doc("Refuse callers from workspaces that do not import")] = False
    trim_proxy_config: Annotated[NullableBool | None, doc("Sidecars know this workspace only")] = None
    enforcement_layers: Annotated[EnforcementLayers | None, doc("Layers that enforce; unset is all")] = None


class Federation(ApiStruct):
    """Hosts that are the same in every cluster."""

    enabled: Annotated[bool, doc("Give services a cross-cluster host")] = False
    host_suffix: Annotated[str, doc("End of these hosts")] = ""
    service_selector: Annotated[tuple[ObjectSelector, ...], doc("Services that get one")] = ()
    ports: Annotated[tuple[PortSelector, ...], doc("Ports of these services; empty is all")] = ()


class HostInfoOverride(ApiStruct):
    """Address under which a gateway is reached."""

    addr: Annotated[str, doc("IP address or hostname")] = ""
    port: Annotated[PortOrZero, doc("Port number")] = 0


class EastWestGateway(ApiStruct):
    """A gateway between clusters."""

    selector: Annotated[ObjectSelector | None, doc("Service of the gateway; unset is label istio=eastwestgateway")] = (
        None
    )
    port: Annotated[PortSelector | None, doc("Port that passes TLS through; unset is named tls")] = None
    tls_termination_port: Annotated[PortSelector | None, doc("Port that ends TLS; unset is named https")] = None
    host_info_overrides: Annotated[tuple[HostInfoOverride, ...], doc("Addresses; unset are discovered")] = ()


class WorkspaceOptions(ApiStruct):
    """Behaviour of a workspace."""

    service_isolation: Annotated[ServiceIsolation | None, doc("Keep out workspaces that do not import")] = None
    federation: Annotated[Federation | None, doc("Hosts that are the same in every cluster")] = None
    east_west_gateways: Annotated[tuple[EastWestGateway, ...], doc("Gateways between clusters")] = ()
    virtual_dest_client_mode: Annotated[ClientMode | None, doc("TLS of virtual destinations; unset is auto")] = None
    trim_all_proxy_config: Annotated[bool, doc("Sidecars get no outbound configuration")] = False


class WorkspaceSettingsSpec(ApiStruct):
    """What a workspace shares, and how it behaves."""

    import_from: Annotated[tuple[WorkspaceObjectSelector, ...], doc("Taken in; needs a matching export")] = ()
    export_to: Annotated[tuple[WorkspaceObjectSelector, ...], doc("Offered; needs a matching import")] = ()
    options: Annotated[WorkspaceOptions | None, doc("Behaviour of the workspace")] = None


class WorkspaceSettings(ApiObject):
    """What a workspace shares with others, and how it behaves."""

    spec: Annotated[WorkspaceSettingsSpec, doc("Imports, exports and options")] = WorkspaceSettingsSpec()
    status: Annotated[WorkspaceSettingsStatus | None, doc("What became of it; written by the control plane")] = None


class KubernetesClusterSpec(ApiStruct):
    """A cluster of the mesh."""

    cluster_domain: Annotated[str, doc("DNS suffix of the cluster; empty is cluster.local")] = ""
    skip_warming: Annotated[bool, doc("Do not wait for this cluster's first report")] = False


class KubernetesCluster(ApiObject):
    """Makes a cluster part of the mesh."""

    spec: Annotated[KubernetesClusterSpec, doc("Facts about the cluster")] = KubernetesClusterSpec()
    status: Annotated[ObjectStatus | None, doc("What became of it; written by the control plane")] = None
