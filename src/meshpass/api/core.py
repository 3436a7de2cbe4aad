"""Kubernetes' own kinds, as far as a control plane reads them; every other field is dropped, not refused."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from meshpass.api.metadata import ApiObject
from meshpass.api.struct import ApiStruct


class CoreStruct(ApiStruct, forbid_unknown_fields=False):
    """A part of a core object."""


class CoreObject(ApiObject, forbid_unknown_fields=False):
    """The base of the core kinds."""


class Namespace(CoreObject):
    """A namespace; its labels are what workspaces select by."""


class ServiceAccount(CoreObject):
    """An identity that workloads run under."""


class ServicePort(CoreStruct):
    """A port of a Service."""

    port: int
    name: str = ""
    target_port: int | str | None = None
    """Number, or name of a container's port; ``None`` is the same number as ``port``."""
    protocol: str = "TCP"
    app_protocol: str = ""


class ServiceSpec(CoreStruct):
    """What a Service selects and how it is reached."""

    ports: tuple[ServicePort, ...] = ()
    selector: Mapping[str, str] = {}
    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    """``None`` (the word) for a headless Service."""
    external_name: str = ""


class LoadBalancerIngress(CoreStruct):
    """Where a load balancer is reached: one of both."""

    ip: str = ""
    hostname: str = ""


class LoadBalancerStatus(CoreStruct):
    """What a load balancer in front of a Service says of itself."""

    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(CoreStruct):
    """Where a Service is reached from beyond its cluster."""

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(CoreObject):
    """A stable name in front of pods."""

    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class ObjectRef(CoreStruct):
    """An object that is referred to from a core object."""

    kind: str = ""
    name: str = ""
    namespace: str = ""


class EndpointConditions(CoreStruct):
    """State of an endpoint; ``None`` is unknown, which counts as ready (EndpointSlice v1)."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Endpoint(CoreStruct):
    """Addresses of one backend."""

    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    target_ref: ObjectRef | None = None
    node_name: str = ""


class EndpointPort(CoreStruct):
    """A port that all endpoints of a slice have."""

    name: str = ""
    port: int | None = None
    protocol: str = "TCP"
    app_protocol: str = ""


class EndpointSlice(CoreObject):
    """Some of the backends of a Service, which label ``kubernetes.io/service-name`` names."""

    address_type: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class ContainerPort(CoreStruct):
    """A port of a container."""

    container_port: int
    name: str = ""
    protocol: str = "TCP"


class Container(CoreStruct):
    """A container of a pod."""

    name: str = ""
    ports: tuple[ContainerPort, ...] = ()


class PodSpec(CoreStruct):
    """What a pod runs, and as whom."""

    service_account_name: str = ""
    node_name: str = ""
    containers: tuple[Container, ...] = ()


class PodCondition(CoreStruct):
    """One aspect of a pod's state."""

    type: str = ""
    status: str = ""


class PodStatus(CoreStruct):
    """Where a pod is, and how it is."""

    phase: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    conditions: tuple[PodCondition, ...] = ()


class Pod(CoreObject):
    """A running workload."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class Secret(CoreObject):
    """Keys and certificates; ``data`` is base64 text. Never printed: the representation names the entries only."""

    type: str = ""
    data: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"Secret({self.metadata.namespace}/{self.metadata.name}, entries={sorted(self.data)})"
