"""Mesh file: the clusters, namespaces and workloads of a local mesh, read strictly from YAML."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from importlib import resources
from pathlib import Path
from typing import Literal

import msgspec

API_VERSION = "meshpass/v1alpha1"
KIND = "LocalMesh"
PROXY_CONTAINER = "istio-proxy"
"""The container of a Pod that is its Envoy; the guides call it so."""
PROXY_PORT = 15001
"""Where every sidecar takes the requests of its own workload. A gateway has no such port: it sends none of its own."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A part of a mesh file: camelCase in the file, no field unknown."""


class Cluster(_Part, frozen=True, kw_only=True):
    """One cluster: an API server and a kubeconfig context of the same name."""

    name: str
    management: bool = False
    """True for the one cluster whose configuration holds for the whole mesh."""
    port: int | None = None
    """The API server's port on 127.0.0.1; without it a free one, kept as long as it stays free."""
    labels: dict[str, str] = {}


class Namespace(_Part, frozen=True, kw_only=True):
    """One namespace, in every cluster unless ``clusters`` names some."""

    name: str
    labels: dict[str, str] = {}
    clusters: tuple[str, ...] = ()


class Port(_Part, frozen=True, kw_only=True):
    """One port of a Service; ``target_port`` is the port of the Pod, the same number unless said."""

    port: int
    name: str = ""
    target_port: int | None = None

    @property
    def target(self) -> int:
        """The port of the Pod that answers."""
        return self.port if self.target_port is None else self.target_port


class Service(_Part, frozen=True, kw_only=True):
    """The Service in front of a workload; several workloads may share one by giving it the same name."""

    ports: tuple[Port, ...]
    name: str | None = None
    """The workload's name unless said."""

    @property
    def targets(self) -> tuple[int, ...]:
        """The Pod's ports, each once, ascending."""
        return tuple(sorted({port.target for port in self.ports}))


class App(Enum):
    """The sample programs that come with Meshpass."""

    HTTPBIN = "httpbin"
    PRODUCTPAGE = "productpage"
    DETAILS = "details"
    RATINGS = "ratings"
    REVIEWS = "reviews"
    HELLOWORLD = "helloworld"


class ProxyKind(Enum):
    """What the Envoy of a workload is: the first part of its node's id, and the Pod's annotation."""

    SIDECAR = "sidecar"
    GATEWAY = "gateway"
    """It stands alone, and takes requests from outside at the ports of its Service."""


class Workload(_Part, frozen=True, kw_only=True):
    """One workload: a Pod with a sidecar, and behind it an app, a command, an address, or nothing (a client).

    Or a Pod that is a gateway.
    """

    name: str
    namespace: str
    cluster: str
    labels: dict[str, str] | None = None
    """``app: <name>`` unless said, and ``istio: ingressgateway`` for a gateway."""
    proxy: ProxyKind = ProxyKind.SIDECAR
    service_account: str = "default"
    service: Service | None = None
    app: App | None = None
    command: tuple[str, ...] | None = None
    env: dict[str, str] = {}
    working_directory: str | None = None
    """Relative to the mesh file."""
    address: str | None = None

    @property
    def pod_labels(self) -> Mapping[str, str]:
        """The labels of the Pod."""
        if self.labels is not None:
            return self.labels
        return {"app": self.name} | ({"istio": "ingressgateway"} if self.is_gateway else {})

    @property
    def is_gateway(self) -> bool:
        """True for a gateway."""
        return self.proxy is ProxyKind.GATEWAY

    @property
    def service_name(self) -> str | None:
        """The name of the Service in front of it, if there is one."""
        return None if self.service is None else self.service.name or self.name

    @property
    def key(self) -> tuple[str, str, str]:
        """Cluster, namespace, name: what no two workloads share."""
        return (self.cluster, self.namespace, self.name)

    def __str__(self) -> str:
        return f"{self.cluster}/{self.namespace}/{self.name}"


class LocalMesh(_Part, frozen=True, kw_only=True):
    """A whole mesh file."""

    api_version: Literal["meshpass/v1alpha1"]
    kind: Literal["LocalMesh"]
    clusters: tuple[Cluster, ...]
    namespaces: tuple[Namespace, ...] = ()
    workloads: tuple[Workload, ...] = ()
    trust_domain: str = "cluster.local"
    """What the identities of its workloads begin with: ``spiffe://<trust domain>/``."""
    default_workspace: bool = True
    """Whether a Workspace with all clusters and namespaces is made where the management cluster has none, and its
    settings where there are none."""

    @property
    def management(self) -> Cluster:
        """The management cluster."""
        return next(cluster for cluster in self.clusters if cluster.management)

    @property
    def apps(self) -> tuple[App, ...]:
        """The sample programs in it, each once, in the order of the file."""
        return tuple(dict.fromkeys(one.app for one in self.workloads if one.app is not None))

    @property
    def workload_clusters(self) -> tuple[Cluster, ...]:
        """All clusters but the management cluster."""
        return tuple(cluster for cluster in self.clusters if not cluster.management)

    def workload(self, cluster: str, namespace: str, name: str) -> Workload | None:
        """The workload of this name, if there is one."""
        return next((one for one in self.workloads if one.key == (cluster, namespace, name)), None)


def default_mesh_path() -> Path:
    """The mesh file that is used without ``-f``; it is in the package."""
    return Path(str(resources.files("meshpass.localmesh").joinpath("default-mesh.yaml")))
