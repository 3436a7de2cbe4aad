"""Mesh files are read strictly: every mistake is named by its field."""

from __future__ import annotations

import pytest
import yaml

from meshpass.errors import MeshFileError
from meshpass.localmesh.meshfile import App, default_mesh_path
from meshpass.localmesh.parse import load_mesh_file, parse_mesh_file

MINIMAL = {
    "apiVersion": "meshpass/v1alpha1",
    "kind": "LocalMesh",
    "clusters": [{"name": "mgmt", "management": True}, {"name": "one"}],
}


def mesh(**changes):
    return yaml.safe_dump({**MINIMAL, **changes})


def workload(**changes):
    fields = {"name": "web", "namespace": "shop", "cluster": "one", **changes}
    return mesh(workloads=[{name: value for name, value in fields.items() if value is not None}])


def service(*ports, **more):
    return {"ports": [dict(zip(("name", "port", "targetPort"), port, strict=False)) for port in ports], **more}


HTTP = service(("http", 80, 8080))


def test_the_default_mesh_is_the_guides():
    """mgmt, cluster1, cluster2; in cluster1 httpbin behind a Service on 8000, a client, Bookinfo and gateways."""
    found = load_mesh_file(default_mesh_path())

    assert [cluster.name for cluster in found.clusters] == ["mgmt", "cluster1", "cluster2"]
    assert found.management.name == "mgmt"
    assert found.trust_domain == "cluster.local"
    assert {namespace.name for namespace in found.namespaces} == {one.namespace for one in found.workloads}
    httpbin = found.workload("cluster1", "httpbin", "httpbin")
    assert httpbin is not None
    assert httpbin.service is not None
    assert httpbin.app is App.HTTPBIN
    assert [(port.port, port.target) for port in httpbin.service.ports] == [(8000, 8080)]
    client = found.workload("cluster1", "httpbin", "client")
    assert client is not None
    assert client.app is client.command is client.address is client.service is None
    bookinfo = {
        one.name: one for one in found.workloads if one.namespace.startswith("bookinfo-") and one.cluster == "cluster1"
    }
    assert {name: (one.service_name, one.service_account) for name, one in bookinfo.items()} == {
        "productpage-v1": ("productpage", "bookinfo-productpage"),
        "details-v1": ("details", "bookinfo-details"),
        "ratings-v1": ("ratings", "bookinfo-ratings"),
        "reviews-v1": ("reviews", "bookinfo-reviews"),
        "reviews-v2": ("reviews", "bookinfo-reviews"),
    }
    for name, one in bookinfo.items():
        assert one.app is not None
        assert one.service is not None
        assert f"{one.app.value}-{one.pod_labels['version']}" == name
        assert [(port.name, port.port, port.target) for port in one.service.ports] == [("http", 9080, 9080)]
    gateway = found.workload("cluster1", "gloo-mesh-gateways", "istio-ingressgateway")
    assert gateway is not None
    assert gateway.service is not None
    assert gateway.is_gateway
    assert gateway.pod_labels == {"app": "istio-ingressgateway", "istio": "ingressgateway"}
    assert {port.name: (port.port, port.target) for port in gateway.service.ports} == {
        "http2": (80, 8080),
        "https": (443, 8443),
        "tcp": (31400, 31400),
        "tls": (15443, 15443),
    }


def test_the_second_cluster_has_other_versions():
    """reviews v3 with ratings, helloworld v2, httpbin with a client; both clusters have a gateway to the other."""
    found = load_mesh_file(default_mesh_path())
    second = {one.name: one for one in found.workloads if one.cluster == "cluster2"}

    assert {name: one.pod_labels.get("version") for name, one in second.items() if one.app} == {
        "httpbin": None,
        "reviews-v3": "v3",
        "ratings-v1": "v1",
        "helloworld-v2": "v2",
    }
    assert second["client"].service is None
    assert {name for name, one in second.items() if one.is_gateway} == {"istio-ingressgateway", "istio-eastwestgateway"}
    for cluster, version in (("cluster1", "v1"), ("cluster2", "v2")):
        helloworld = found.workload(cluster, "helloworld", f"helloworld-{version}")
        assert helloworld is not None
        assert helloworld.service is not None
        assert [(port.name, port.port) for port in helloworld.service.ports] == [("http", 5000)]
        gateway = found.workload(cluster, "gloo-mesh-gateways", "istio-eastwestgateway")
        assert gateway is not None
        assert gateway.service is not None
        assert gateway.pod_labels == {"app": "istio-eastwestgateway", "istio": "eastwestgateway"}
        assert [(port.name, port.port) for port in gateway.service.ports] == [("tls", 15443)]


def test_a_gateway_is_labelled_as_one():
    """The label that VirtualGateways select by, unless the file says others."""
    gateway = {"proxy": "gateway", "service": HTTP}
    plain, other = (
        parse_mesh_file(workload(**gateway, labels=labels)).workloads[0] for labels in (None, {"istio": "east"})
    )

    assert dict(plain.pod_labels) == {"app": "web", "istio": "ingressgateway"}
    assert dict(other.pod_labels) == {"istio": "east"}


def test_what_is_left_out_has_a_default():
    """Labels are the name, the Service is called like the workload, the target port is the port."""
    found = parse_mesh_file(workload(command=["serve"], service={"ports": [{"port": 80}]})).workloads[0]

    assert dict(found.pod_labels) == {"app": "web"}
    assert found.service_name == "web"
    assert found.service is not None
    assert found.service.targets == (80,)
    assert found.service_account == "default"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("- a", "expected a mapping", None),
        ("a: [", "not YAML", None),
        (mesh(kind="Mesh"), "kind: expected LocalMesh, got 'Mesh'", None),
        (mesh(apiVersion="v1"), "apiVersion: expected meshpass/v1alpha1", None),
        (mesh(worklods=[]), "worklods: unknown field", "did you mean workloads?"),
        (workload(adress="x:1"), "workloads[0].adress: unknown field", "did you mean address?"),
        (workload(name=None), "workloads[0].name: required", None),
        (
            workload(service={"ports": [{"prt": 80}]}),
            "workloads[0].service.ports[0].prt: unknown field",
            "did you mean port?",
        ),
        (workload(labels={"a": 1}), "workloads[0].labels[...]: expected `str`", None),
        (workload(app="httpbn", service=HTTP), "workloads[0].app: ", None),
        (mesh(clusters=[{"name": "a"}]), "clusters: 0 clusters have management: true", "exactly one"),
        (mesh(clusters=[{"name": "A", "management": True}]), "clusters[0].name: 'A' is no name", None),
        (
            mesh(clusters=[{"name": "a", "management": True}, {"name": "a"}]),
            "clusters: a is declared 2 times",
            None,
        ),
        (mesh(clusters=[{"name": "a", "management": True, "port": 0}]), "clusters[0].port: 0 is no port", None),
        (mesh(trustDomain="Example"), "trustDomain: 'Example' is no trust domain", "cluster.local"),
        (mesh(namespaces=[{"name": "x", "clusters": ["on"]}]), "namespaces[0].clusters[0]: no cluster on", "mean one"),
        (workload(cluster="two"), "workloads[0].cluster: no cluster two", "mgmt, one"),
        (workload(app="httpbin", address="a:1", service=HTTP), "workloads[0]: app and address exclude", "client"),
        (workload(app="httpbin"), "workloads[0].service: required with app", None),
        (workload(address="127.0.0.1:80"), "workloads[0].service: required with address", None),
        (workload(address="127.0.0.1", service=HTTP), "workloads[0].address: '127.0.0.1' is no host:port", None),
        (workload(env={"A": "b"}), "workloads[0].env: has no effect without command or app", None),
        (workload(proxy="gatway", service=HTTP), "workloads[0].proxy: ", None),
        (workload(proxy="gateway"), "workloads[0].service: required for a gateway", None),
        (
            workload(proxy="gateway", app="httpbin", service=HTTP),
            "workloads[0].app: a gateway has nothing behind it",
            "workload of its own",
        ),
        (workload(workingDirectory="x"), "workloads[0].workingDirectory: has no effect without command", None),
        (workload(command=[]), "workloads[0].command: is empty", None),
        (workload(command=["a"], service={"ports": []}), "workloads[0].service.ports: is empty", None),
        (
            workload(command=["a"], service=service(("a", 80, 1), ("b", 80, 2))),
            "workloads[0].service.ports: 80 is declared 2 times",
            None,
        ),
        (
            workload(command=["a"], service={"ports": [{"port": 80}, {"port": 81}]}),
            "workloads[0].service.ports[0].name: required",
            None,
        ),
        (
            workload(command=["a"], service=service(("a", 80, 15001))),
            "workloads[0].service.ports[0].targetPort: 15001 is the sidecar's own",
            None,
        ),
        (
            workload(app="httpbin", service=service(("a", 80, 1), ("b", 81, 2))),
            "workloads[0].service.ports: app answers on one targetPort, not on [1, 2]",
            None,
        ),
    ],
)
def test_mistakes_are_named_by_their_field(text, message, hint):
    """The message starts with the path of the field, the hint says what to do."""
    with pytest.raises(MeshFileError) as caught:
        parse_mesh_file(text)

    assert str(caught.value).startswith(message)
    assert hint is None or hint in (caught.value.hint or "")


def test_a_workload_twice_is_refused():
    """Cluster, namespace and name are a workload's identity."""
    one = {"name": "web", "namespace": "shop", "cluster": "one"}
    with pytest.raises(MeshFileError, match="one/shop/web is declared 2 times"):
        parse_mesh_file(mesh(workloads=[one, one]))


def test_workloads_that_share_a_service_share_its_ports_and_a_label():
    """The common labels become the selector, so there has to be one."""
    shared = {"namespace": "shop", "cluster": "one", "command": ["x"], "service": {**HTTP, "name": "web"}}
    parse_mesh_file(
        mesh(
            workloads=[
                {**shared, "name": "v1", "labels": {"app": "web", "version": "1"}},
                {**shared, "name": "v2", "labels": {"app": "web", "version": "2"}},
            ]
        )
    )
    with pytest.raises(MeshFileError, match=r"workloads\[1\].labels: none in common"):
        parse_mesh_file(mesh(workloads=[{**shared, "name": "v1"}, {**shared, "name": "v2"}]))
    other = {**shared, "service": service(("http", 81, 8080), name="web"), "labels": {"app": "web"}}
    with pytest.raises(MeshFileError, match=r"workloads\[1\].service.ports: differ"):
        parse_mesh_file(mesh(workloads=[{**shared, "name": "v1", "labels": {"app": "web"}}, {**other, "name": "v2"}]))


def test_a_gateway_shares_its_service_with_gateways_only():
    """Requests for a workload do not end up at a gateway."""
    shared = {"namespace": "shop", "cluster": "one", "labels": {"app": "web"}, "service": {**HTTP, "name": "web"}}
    gateway = {**shared, "proxy": "gateway"}
    parse_mesh_file(mesh(workloads=[{**gateway, "name": "a"}, {**gateway, "name": "b"}]))
    with pytest.raises(MeshFileError, match=r"workloads\[1\].proxy: differs"):
        parse_mesh_file(mesh(workloads=[{**gateway, "name": "a"}, {**shared, "name": "b", "command": ["x"]}]))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    """The message starts with the file."""
    with pytest.raises(MeshFileError, match=r"nowhere\.yaml: cannot be read: No such file"):
        load_mesh_file(tmp_path / "nowhere.yaml")
    (tmp_path / "bad.yaml").write_text("kind: x")
    with pytest.raises(MeshFileError, match=r"bad\.yaml: apiVersion: expected"):
        load_mesh_file(tmp_path / "bad.yaml")
