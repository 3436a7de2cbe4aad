"""Between clusters, whatever there is in them: nobody goes past a gateway, and what is asked of one is what it passes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.support.catalog import endpoint_slice, virtual_destination
from tests.support.objects import CLUSTER_ANNOTATION, object_set, translate_objects

from meshpass.ir import GatewayListener, TcpChain
from meshpass.translate import Translation
from meshpass.translate.identity import Identities

IDENTITIES = Identities(trust_domain="mesh.example", authorities="roots")
CLUSTERS = ("cluster1", "cluster2", "cluster3")
LABELS = ({"version": "v1"}, {"version": "v2"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What is in one cluster."""

    has_gateway: bool
    has_address: bool
    pods: tuple[tuple[bool, bool, int], ...]
    """Each has a sidecar or not, is ready or not, and has one of the labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All of them, and how they are told to be reached."""

    clusters: tuple[Cluster, ...]
    federated: bool
    virtual: bool
    referring: bool
    subset: bool


clusters = st.builds(
    Cluster,
    has_gateway=st.booleans(),
    has_address=st.booleans(),
    pods=st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 1)), max_size=3).map(tuple),
)
worlds = st.builds(
    World,
    clusters=st.tuples(*(clusters for _ in CLUSTERS)),
    federated=st.booleans(),
    virtual=st.booleans(),
    referring=st.booleans(),
    subset=st.booleans(),
)


def address(cluster: int, number: int) -> str:
    """Of a pod; the gateway is number 100."""
    return f"10.{cluster}.0.{number}"


def build(world: World) -> Iterator[Mapping[str, Any]]:
    """The objects of a world, whose Service ``web`` is in every cluster, with a caller in each."""
    for cluster in ("mgmt", *CLUSTERS):
        for namespace in ("httpbin", "gateways"):
            yield manifest("Namespace", namespace, cluster, namespace="")
    yield manifest(
        "Workspace", "mesh", "mgmt", namespace="gateways",
        spec={"workloadClusters": [{"name": "*", "namespaces": [{"name": "*"}]}]},
    )  # fmt: skip
    federation = {"enabled": world.federated, "hostSuffix": "global"}
    yield manifest("WorkspaceSettings", "settings", "mgmt", spec={"options": {"federation": federation}})
    for index, (name, one) in enumerate(zip(CLUSTERS, world.clusters, strict=True)):
        yield from build_cluster(index, name, one)
    if world.virtual:
        yield virtual_destination(
            hosts=["web.global"], services=[{"labels": {"app": "web"}}], ports=[{"number": 80, "protocol": "HTTP"}]
        )
    if world.referring:
        destination: dict[str, Any] = {"ref": {"name": "web"}}
        if world.subset:
            destination["subset"] = LABELS[0]
        route = {"name": "web", "forwardTo": {"destinations": [destination]}}
        yield manifest("RouteTable", "table", "cluster2", spec={"hosts": ["www.example.com"], "http": [route]})


def build_cluster(index: int, name: str, cluster: Cluster) -> Iterator[Mapping[str, Any]]:
    """The objects of one cluster."""
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    yield manifest("Service", "web", name, {"app": "web"}, spec={"selector": {"app": "web"}, "ports": ports})
    yield pod("caller", name, address(index, 99), {"app": "caller"}, "sidecar")
    ready = {}
    for number, (has_sidecar, is_ready, label) in enumerate(cluster.pods):
        place = address(index, number)
        yield pod(f"web-{number}", name, place, {"app": "web", **LABELS[label]}, "sidecar" if has_sidecar else "")
        if is_ready:
            ready[place] = f"web-{number}"
    yield endpoint_slice(
        "web", *ready, pods=ready, http=8080,
        place={"cluster": name, "labels": {"kubernetes.io/service-name": "web"}},
    )  # fmt: skip
    if cluster.has_gateway:
        labels = {"istio": "eastwestgateway"}
        yield pod("east", name, address(index, 100), labels, "gateway", namespace="gateways")
        yield manifest(
            "Service", "east", name, labels, namespace="gateways",
            spec={"selector": labels, "ports": [{"name": "tls", "port": 15443}]},
            status={"loadBalancer": {"ingress": [{"ip": address(index, 100)}] if cluster.has_address else []}},
        )  # fmt: skip


def pod(
    name: str, cluster: str, place: str, labels: Mapping[str, str], proxy: str, *, namespace: str = "httpbin"
) -> Mapping[str, Any]:
    found = manifest("Pod", name, cluster, labels, namespace=namespace, status={"podIP": place, "phase": "Running"})
    found["metadata"]["annotations"] |= {"meshpass.dev/proxy": proxy} if proxy else {}
    return found


def manifest(
    kind: str,
    name: str,
    cluster: str,
    labels: Mapping[str, str] | None = None,
    *,
    namespace: str = "httpbin",
    **rest: Any,
) -> dict[str, Any]:
    group = {"RouteTable": "networking.gloo.solo.io/v2"}.get(kind, "v1")
    group = "admin.gloo.solo.io/v2" if kind.startswith("Workspace") else group
    metadata = {"name": name, "annotations": {CLUSTER_ANNOTATION: cluster}, "labels": dict(labels or {})}
    metadata |= {"namespace": namespace} if namespace else {}
    return {"apiVersion": group, "kind": kind, "metadata": metadata, **rest}


def passed_on(translation: Translation, cluster: str) -> dict[str, frozenset[str]]:
    """Server name → the addresses that the gateway of a cluster passes its connections on to."""
    proxy = translation.proxies.get(f"gateway~{cluster}~gateways~east")
    if proxy is None:
        return {}
    backends = {one.name: frozenset(endpoint.address for endpoint in one.endpoints) for one in proxy.backends}
    chains = [
        chain
        for listener in proxy.listeners
        if isinstance(listener, GatewayListener)
        for chain in listener.chains
        if isinstance(chain, TcpChain)
    ]
    assert all(chain.only_tls and chain.tls is None and len(chain.server_names) == 1 for chain in chains)
    return {chain.server_names[0]: backends[chain.backends[0].backend] for chain in chains}


@given(worlds)
def test_clusters_reach_each_other_by_their_gateways_alone(world: World) -> None:
    """A gateway passes on to ready sidecars of its own cluster, exactly where some caller asks for it or might."""
    translation = translate_objects(object_set(*build(world)), identities=IDENTITIES)
    gates = {name: passed_on(translation, name) for name in CLUSTERS}
    speaking = {
        name: {
            address(index, number)
            for number, (has_sidecar, is_ready, _) in enumerate(world.clusters[index].pods)
            if has_sidecar and is_ready
        }
        for index, name in enumerate(CLUSTERS)
    }
    for name, gate in gates.items():
        assert all(places <= speaking[name] for places in gate.values())
    for caller, name in enumerate(CLUSTERS):
        for backend in translation.proxies[f"sidecar~{name}~httpbin~caller"].backends:
            for endpoint in backend.endpoints:
                index = int(endpoint.address.split(".")[1])
                if index == caller or not world.clusters[index].has_gateway:
                    continue
                assert endpoint.address == address(index, 100), "nobody goes past a gateway"
                assert endpoint.mutual_tls
                assert backend.peer is not None
                assert gates[CLUSTERS[index]][backend.peer.sni], "whoever is asked for is there"


@given(worlds)
def test_what_nobody_shares_cannot_be_asked_for(world: World) -> None:
    """Without federation, virtual destinations and tables gateways pass nothing on."""
    alone = replace(world, federated=False, virtual=False, referring=False)
    translation = translate_objects(object_set(*build(alone)), identities=IDENTITIES)

    assert all(passed_on(translation, name) == {} for name in CLUSTERS)
