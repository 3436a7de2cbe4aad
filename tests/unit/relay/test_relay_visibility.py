"""What the agent of a cluster may see of the others, and what it may not."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.relay_world import MANAGEMENT, manifest

from meshpass.api.objectset import ObjectKey
from meshpass.kube.store import ObjectStore
from meshpass.kube.stored import KIND_BY_NAME
from meshpass.relay.facts import Facts
from meshpass.relay.shelf import Shelf
from meshpass.relay.typeurl import NODE_STATE, REVISION, kind_of_url, object_type
from meshpass.xds.remote import RemoteState, RemoteStates

CLUSTERS = (MANAGEMENT, "cluster1", "cluster2")
STATE = RemoteState(in_sync=True)


class Mesh:
    """Objects of three clusters in one store, as in a management server, and what of them is for whom."""

    def __init__(self) -> None:
        self.store = ObjectStore(keeps_essences=True)
        self.own, self.remote, self.facts = RemoteStates(), RemoteStates(), Facts()
        self.version = 0
        for cluster in CLUSTERS:
            self.store.expect(cluster, KIND_BY_NAME.values())
            for kind in KIND_BY_NAME.values():
                self.store.replace(cluster, kind, [], "0")
        self.shelf = Shelf(self.store, self.own, self.remote, self.facts, management_cluster=MANAGEMENT)

    def put(self, cluster: str, *raws: dict[str, Any]) -> None:
        for raw in raws:
            self.version += 1
            metadata = {**raw["metadata"], "resourceVersion": str(self.version)}
            self.store.upsert(cluster, KIND_BY_NAME[raw["kind"]], {**raw, "metadata": metadata})
        self.store.flush()

    def delete(self, cluster: str, kind: str, name: str, namespace: str = "") -> None:
        self.version += 1
        raw = manifest(kind, name, namespace)
        metadata = {**raw["metadata"], "resourceVersion": str(self.version)}
        self.store.delete(cluster, KIND_BY_NAME[kind], {**raw, "metadata": metadata})
        self.store.flush()

    def seen(self, cluster: str) -> set[tuple[str, str]]:
        """(kind, name) of the objects that the agent of the cluster is to hold, those of administration aside."""
        resources = self.shelf.for_agent(cluster).resources
        return {
            (kind, name)
            for type_url, of_type in resources.items()
            for name in of_type
            if (kind := kind_of_url(type_url))
            and kind not in {"Namespace", "Workspace", "WorkspaceSettings", "KubernetesCluster"}
        }

    def reported(self, cluster: str) -> set[tuple[str, str]]:
        """(kind, name) of the objects that the agent of the cluster tells."""
        resources = self.shelf.for_management(cluster).resources
        return {
            (kind, name)
            for type_url, of_type in resources.items()
            for name in of_type
            if (kind := kind_of_url(type_url))
        }


def workspace(name: str, *namespaces: str) -> dict[str, Any]:
    selectors = [{"name": one} for one in namespaces]
    return manifest("Workspace", name, "gloo-mesh", spec={"workloadClusters": [{"name": "*", "namespaces": selectors}]})


def settings(namespace: str, **spec: Any) -> dict[str, Any]:
    return manifest("WorkspaceSettings", "settings", namespace, spec=spec)


def service(name: str, namespace: str) -> dict[str, Any]:
    return manifest("Service", name, namespace, spec={"ports": [{"port": 80}]})


@pytest.fixture
async def mesh() -> Mesh:
    """Team a has namespace a of clusters 1 and 2, team b namespace b of cluster 2; nobody has namespace free."""
    mesh = Mesh()
    mesh.put(MANAGEMENT, workspace("team-a", "a"), workspace("team-b", "b"))
    mesh.put("cluster1", manifest("Namespace", "a"), service("one", "a"))
    mesh.put("cluster2", *(manifest("Namespace", name) for name in ("a", "b", "free")))
    mesh.put("cluster2", *(service("two", namespace) for namespace in ("a", "b", "free")))
    return mesh


SECRET_REF = {"local": {"secretRef": {"objectRef": {"name": "keys"}, "key": "jwks"}}}


def policy(namespace: str, provider: dict[str, Any]) -> dict[str, Any]:
    return manifest("JWTPolicy", "policy", namespace, spec={"config": {"providers": {"p": provider}}})


def secret(name: str, namespace: str) -> dict[str, Any]:
    return manifest("Secret", name, namespace, data={"jwks": "e30="})


async def test_an_agent_sees_its_workspaces_and_not_its_own_cluster(mesh: Mesh) -> None:
    """Own objects come from its own API server; other teams' and nobody's do not come at all."""
    assert mesh.seen("cluster1") == {("Service", "cluster2/a/two")}
    assert mesh.seen("cluster2") == {("Service", "cluster1/a/one")}


def gateway(namespace: str, **labels: str) -> tuple[dict[str, Any], ...]:
    """A gateway behind Service `gate`, and another pod."""
    front = manifest("Service", "gate", namespace, spec={"selector": {"app": "gate"}, "ports": [{"port": 443}]})
    front["metadata"]["labels"] = labels
    pod, other = manifest("Pod", "gate-0", namespace), manifest("Pod", "other", namespace)
    pod["metadata"]["labels"] = {"app": "gate"}
    where = manifest("EndpointSlice", "gate-1", namespace, addressType="IPv4", endpoints=[], ports=[])
    where["metadata"]["labels"] = {"kubernetes.io/service-name": "gate"}
    return front, pod, other, where


async def test_gateways_for_everybody_are_seen_by_everybody(mesh: Mesh) -> None:
    """Their Service and where it leads, and nothing else of whoever has them; without the label nothing at all."""
    mesh.put("cluster2", *gateway("b", istio="eastwestgateway"), *gateway("free", istio="eastwestgateway"))
    of_gateway = {("Service", "cluster2/b/gate"), ("Pod", "cluster2/b/gate-0"), ("EndpointSlice", "cluster2/b/gate-1")}
    assert mesh.seen("cluster1") == {("Service", "cluster2/a/two"), *of_gateway}

    mesh.put("cluster2", *gateway("b", istio="ingressgateway"))
    assert mesh.seen("cluster1") == {("Service", "cluster2/a/two")}


async def test_administration_is_for_everyone(mesh: Mesh) -> None:
    """Everyone has to come to the same workspaces."""
    resources = mesh.shelf.for_agent("cluster1").resources

    assert set(resources[object_type("Namespace")]) == {f"cluster2//{name}" for name in ("a", "b", "free")}
    assert set(resources[object_type("Workspace")]) == {"mgmt/gloo-mesh/team-a", "mgmt/gloo-mesh/team-b"}


async def test_imports_of_both_sides_open_a_workspace_and_end_it(mesh: Mesh) -> None:
    """One side alone opens nothing; service accounts go the other way too, for those who let them in."""
    mesh.put("cluster1", settings("a", importFrom=[{"workspaces": [{"name": "team-b"}]}]))
    assert ("Service", "cluster2/b/two") not in mesh.seen("cluster1")
    mesh.put("cluster2", settings("b", exportTo=[{"workspaces": [{"name": "team-a"}]}]))
    assert ("Service", "cluster2/b/two") in mesh.seen("cluster1")
    assert ("Service", "cluster2/free/two") not in mesh.seen("cluster1")
    mesh.delete("cluster2", "WorkspaceSettings", "settings", "b")

    assert ("Service", "cluster2/b/two") not in mesh.seen("cluster1")


async def test_what_an_import_imports_is_seen_too(mesh: Mesh) -> None:
    """A table of team b delegates to one of team c, as team b sees it: whoever imports the first needs the second."""
    mesh.put(MANAGEMENT, workspace("team-c", "c"))
    mesh.put("cluster2", manifest("Namespace", "c"), service("three", "c"))
    mesh.put("cluster1", settings("a", importFrom=[{"workspaces": [{"name": "team-b"}]}]))
    mesh.put(
        "cluster2",
        settings(
            "b", exportTo=[{"workspaces": [{"name": "team-a"}]}], importFrom=[{"workspaces": [{"name": "team-c"}]}]
        ),
    )
    assert ("Service", "cluster2/c/three") not in mesh.seen("cluster1")
    mesh.put("cluster2", settings("c", exportTo=[{"workspaces": [{"name": "team-b"}]}]))

    assert ("Service", "cluster2/c/three") in mesh.seen("cluster1")


async def test_service_accounts_of_callers_are_seen(mesh: Mesh) -> None:
    """Who exports a Service says who may call it, by the accounts of those who import it; nothing else of them is seen."""
    mesh.put(MANAGEMENT, workspace("team-d", "d"))
    mesh.put("cluster2", manifest("Namespace", "d"), manifest("ServiceAccount", "caller", "d"), service("four", "d"))
    mesh.put("cluster2", settings("d", importFrom=[{"workspaces": [{"name": "team-a"}]}]))
    mesh.put("cluster1", settings("a", exportTo=[{"workspaces": [{"name": "team-d"}]}]))

    assert ("ServiceAccount", "cluster2/d/caller") in mesh.seen("cluster1")
    assert ("Service", "cluster2/d/four") not in mesh.seen("cluster1")


async def test_a_secret_is_for_whom_a_policy_needs_it(mesh: Mesh) -> None:
    """Of the same workspace, and named by an object that is seen; one that merely is there stays where it is."""
    mesh.put("cluster2", secret("keys", "a"), secret("other", "a"), secret("keys", "b"), policy("a", SECRET_REF))

    assert {name for kind, name in mesh.seen("cluster1") if kind == "Secret"} == {"cluster2/a/keys"}
    assert {name for kind, name in mesh.reported("cluster2") if kind == "Secret"} == {"cluster2/a/keys"}
    mesh.delete("cluster2", "JWTPolicy", "policy", "a")
    assert not {name for kind, name in mesh.seen("cluster1") if kind == "Secret"}


async def test_naming_a_secret_of_another_workspace_does_not_bring_it(mesh: Mesh) -> None:
    """A policy of team a that names the keys of team b gets a finding, and its agents get no keys."""
    reference = {"name": "keys", "namespace": "b", "cluster": "cluster2"}
    mesh.put("cluster2", secret("keys", "b"))
    mesh.put("cluster1", policy("a", {"local": {"secretRef": {"objectRef": reference, "key": "jwks"}}}))

    assert not {name for kind, name in mesh.seen("cluster1") if kind == "Secret"}
    assert not {name for kind, name in mesh.reported("cluster2") if kind == "Secret"}


async def test_a_secret_of_an_external_service_goes_with_it(mesh: Mesh) -> None:
    """The certificate by which sidecars of every cluster show who they are."""
    port = {"number": 443, "protocol": "HTTPS", "clientsideTls": {"mode": "MUTUAL", "credentialName": "certificate"}}
    mesh.put(
        "cluster2",
        manifest("ExternalService", "out", "a", spec={"hosts": ["example.com"], "ports": [port]}),
        secret("certificate", "a"),
    )

    assert ("Secret", "cluster2/a/certificate") in mesh.seen("cluster1")


async def test_a_gateway_s_certificate_goes_to_the_management_server_alone(mesh: Mesh) -> None:
    """It says whether it is good; no other cluster's gateway shows it."""
    listener = {"port": {"number": 443}, "http": {}, "tls": {"mode": "SIMPLE", "secretName": "www"}}
    mesh.put("cluster1", manifest("VirtualGateway", "gateway", "a", spec={"listeners": [listener]}))
    mesh.put("cluster2", secret("www", "a"), secret("www-cacert", "a"), secret("www", "b"))

    assert {name for kind, name in mesh.reported("cluster2") if kind == "Secret"} == {
        "cluster2/a/www",
        "cluster2/a/www-cacert",
    }
    assert not {name for kind, name in mesh.seen("cluster1") if kind == "Secret"}


async def test_states_and_labels_of_the_other_clusters(mesh: Mesh) -> None:
    """Of the proxies that are in namespaces which are seen; labels of all, since all are of one set."""
    for node in ("sidecar~cluster2~a~x", "gateway~cluster2~a~y", "sidecar~cluster2~b~x", "sidecar~cluster1~a~x"):
        mesh.remote.set(node, STATE)
    mesh.own.set("gateway~mgmt~a~z", STATE)
    resources = mesh.shelf.for_agent("cluster1").resources

    assert set(resources[NODE_STATE]) >= {"sidecar~cluster2~a~x", "gateway~cluster2~a~y"}
    assert not {"sidecar~cluster2~b~x", "sidecar~cluster1~a~x"} & set(resources[NODE_STATE])
    assert set(resources[REVISION]) == {MANAGEMENT, "cluster2"}
    assert set(mesh.shelf.for_management("cluster1").resources[REVISION]) == {"cluster1"}


async def test_an_edit_leaves_the_other_kinds_as_they_are(mesh: Mesh) -> None:
    """The mapping of a kind is the very same object, and so is every resource that did not change."""
    before = mesh.shelf.for_agent("cluster1").resources
    mesh.put("cluster2", manifest("Pod", "pod", "a"))
    mesh.put("cluster2", service("more", "a"))
    after = mesh.shelf.for_agent("cluster1").resources

    changed = {type_url for type_url in after if after[type_url] is not before[type_url]}
    assert changed == {object_type("Pod"), object_type("Service"), REVISION}
    name = "cluster2/a/two"
    assert after[object_type("Service")][name] is before[object_type("Service")][name]


async def test_what_is_not_relayed_changes_nothing(mesh: Mesh) -> None:
    """A status that was written is a change of the store; the Target is the very same, without a look at any object."""
    edited = policy("a", {"issuer": "https://a.example"})
    mesh.put("cluster2", edited)
    before = mesh.shelf.for_agent("cluster1"), mesh.shelf.for_management("cluster2")
    changes = mesh.store.changes
    mesh.put("cluster2", {**edited, "status": {"conditions": []}})

    assert mesh.store.changes > changes
    assert mesh.shelf.for_agent("cluster1") is before[0]
    assert mesh.shelf.for_management("cluster2") is before[1]
    mesh.own.set("gateway~mgmt~a~z", STATE)
    assert mesh.shelf.for_agent("cluster1") is not before[0]
    assert mesh.shelf.for_agent("cluster1", {"cluster2"}) is not mesh.shelf.for_agent("cluster1")


async def test_what_is_held_is_named_with_the_versions_that_were_told(mesh: Mesh) -> None:
    """A process that starts from its disk asks for what changed, and for nothing else."""
    mesh.remote.set("sidecar~cluster2~a~x", STATE)
    mesh.facts.receive("cluster2", {"fact": b"1"}, frozenset())
    told = mesh.shelf.for_management("cluster2").resources
    held = mesh.shelf.held_of("cluster2")

    for type_url in (object_type("Service"), object_type("Namespace"), REVISION):
        assert held[type_url] == {name: one.version for name, one in told[type_url].items()}
    assert set(held[NODE_STATE]) == {"sidecar~cluster2~a~x"}
    assert mesh.store.objects.get(KIND_BY_NAME["Service"].type, ObjectKey("Service", "cluster2", "a", "two"))
