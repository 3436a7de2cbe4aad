"""Every kind that the control plane reads."""

from __future__ import annotations

from types import MappingProxyType

from meshpass.api.admin import KubernetesCluster, Workspace, WorkspaceSettings
from meshpass.api.core import EndpointSlice, Namespace, Pod, Secret, Service, ServiceAccount
from meshpass.api.external import ExternalEndpoint, ExternalService
from meshpass.api.kind import Kind, PrinterColumn
from meshpass.api.metadata import ApiObject
from meshpass.api.resilience import FaultInjectionPolicy, RetryTimeoutPolicy
from meshpass.api.roottrust import RootTrustPolicy
from meshpass.api.routetable import RouteTable
from meshpass.api.security import AccessPolicy, CORSPolicy, JWTPolicy
from meshpass.api.trafficcontrol import HeaderManipulationPolicy
from meshpass.api.virtualdestination import VirtualDestination
from meshpass.api.virtualgateway import VirtualGateway

NETWORKING_GROUP = "networking.gloo.solo.io"
SECURITY_GROUP = "security.policy.gloo.solo.io"
RESILIENCE_GROUP = "resilience.policy.gloo.solo.io"
TRAFFICCONTROL_GROUP = "trafficcontrol.policy.gloo.solo.io"
ADMIN_GROUP = "admin.gloo.solo.io"

_STATUS = PrinterColumn(
    name="Status", type="string", json_path=".status.common.State.approval", description="Outcome of processing"
)
_MESSAGE = PrinterColumn(
    name="Message", type="string", json_path=".status.common.State.message", description="Why, in words", priority=1
)
_AGE = PrinterColumn(
    name="Age", type="date", json_path=".metadata.creationTimestamp", description="Time since creation"
)


def _kind(
    object_type: type[ApiObject],
    group: str,
    *columns: PrinterColumn,
    plural: str,
    short_name: str,
) -> Kind:
    return Kind(
        group=group,
        version="v2",
        kind=object_type.__name__,
        plural=plural,
        singular=object_type.__name__.lower(),
        type=object_type,
        short_names=(short_name,),
        categories=("solo-io", "meshpass"),
        columns=(_STATUS, *columns, _AGE, _MESSAGE),
    )


def _column(name: str, json_path: str, description: str, column_type: str = "integer") -> PrinterColumn:
    return PrinterColumn(name=name, type=column_type, json_path=json_path, description=description)


_ROUTES = _column("Routes", ".status.numSelectedRoutes", "Routes selected")

KINDS: tuple[Kind, ...] = (
    _kind(
        RouteTable,
        NETWORKING_GROUP,
        _column("Hosts", ".spec.hosts", "Hosts served", "string"),
        plural="routetables",
        short_name="rt",
    ),
    _kind(
        VirtualGateway,
        NETWORKING_GROUP,
        _column("RouteTables", ".status.routeTablesCount", "Route tables bound"),
        plural="virtualgateways",
        short_name="vg",
    ),
    _kind(
        VirtualDestination,
        NETWORKING_GROUP,
        _column("Hosts", ".spec.hosts", "Hosts", "string"),
        _column("Services", ".status.numSelectedBackingServices", "Services behind it"),
        plural="virtualdestinations",
        short_name="vd",
    ),
    _kind(
        ExternalService,
        NETWORKING_GROUP,
        _column("Hosts", ".spec.hosts", "Hosts", "string"),
        plural="externalservices",
        short_name="extsvc",
    ),
    _kind(
        ExternalEndpoint,
        NETWORKING_GROUP,
        _column("Address", ".spec.address", "Address", "string"),
        plural="externalendpoints",
        short_name="extep",
    ),
    _kind(
        JWTPolicy,
        SECURITY_GROUP,
        _ROUTES,
        _column("Destinations", ".status.numSelectedDestinationPorts", "Destination ports selected"),
        plural="jwtpolicies",
        short_name="jwt",
    ),
    _kind(CORSPolicy, SECURITY_GROUP, _ROUTES, plural="corspolicies", short_name="cors"),
    _kind(RetryTimeoutPolicy, RESILIENCE_GROUP, _ROUTES, plural="retrytimeoutpolicies", short_name="rtp"),
    _kind(FaultInjectionPolicy, RESILIENCE_GROUP, _ROUTES, plural="faultinjectionpolicies", short_name="fip"),
    _kind(
        HeaderManipulationPolicy,
        TRAFFICCONTROL_GROUP,
        _ROUTES,
        plural="headermanipulationpolicies",
        short_name="hmp",
    ),
    _kind(
        AccessPolicy,
        SECURITY_GROUP,
        _column("Destinations", ".status.numSelectedDestinationPorts", "Destination ports selected"),
        plural="accesspolicies",
        short_name="ap",
    ),
    _kind(
        Workspace,
        ADMIN_GROUP,
        _column("Clusters", ".status.numSelectedClusters", "Clusters selected"),
        _column("Namespaces", ".status.numSelectedNamespaces", "Namespaces selected"),
        plural="workspaces",
        short_name="ws",
    ),
    _kind(WorkspaceSettings, ADMIN_GROUP, plural="workspacesettings", short_name="wss"),
    _kind(
        KubernetesCluster,
        ADMIN_GROUP,
        _column("Domain", ".spec.clusterDomain", "DNS suffix", "string"),
        plural="kubernetesclusters",
        short_name="kc",
    ),
    _kind(RootTrustPolicy, ADMIN_GROUP, plural="roottrustpolicies", short_name="roottrust"),
)
"""Our kinds, which have CRDs."""


def _core(
    object_type: type[ApiObject], plural: str, short_name: str = "", *, group: str = "", scoped: bool = True
) -> Kind:
    return Kind(
        group=group,
        version="v1",
        kind=object_type.__name__,
        plural=plural,
        singular=object_type.__name__.lower(),
        type=object_type,
        short_names=(short_name,) if short_name else (),
        namespaced=scoped,
    )


CORE_KINDS: tuple[Kind, ...] = (
    _core(Namespace, "namespaces", "ns", scoped=False),
    _core(ServiceAccount, "serviceaccounts", "sa"),
    _core(Service, "services", "svc"),
    _core(Pod, "pods", "po"),
    _core(Secret, "secrets"),
    _core(EndpointSlice, "endpointslices", group="discovery.k8s.io"),
)
"""Kubernetes' own kinds, of which the control plane reads a part."""

_BY_NAME = MappingProxyType({(kind.group_version, kind.kind): kind for kind in KINDS + CORE_KINDS})
_BY_TYPE = MappingProxyType({kind.type: kind for kind in KINDS + CORE_KINDS})


def kind_of(api_version: str, kind: str) -> Kind | None:
    """The kind that a manifest names, or ``None`` if it is not one of ours and not read."""
    return _BY_NAME.get((api_version, kind))


def kind_of_type(object_type: type[ApiObject]) -> Kind:
    """The kind whose objects have this Python type. KeyError for a type that is no kind."""
    return _BY_TYPE[object_type]
