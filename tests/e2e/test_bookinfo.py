"""Bookinfo in the default mesh: programs that ask each other through their sidecars, and a gateway in front of them."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator

import psutil
import pytest
from tests.support.mesh import Mesh, Response, running_mesh

pytestmark = pytest.mark.envoy

ENTRANCE = """
apiVersion: networking.gloo.solo.io/v2
kind: VirtualGateway
metadata: {name: entrance, namespace: gloo-mesh-gateways}
spec:
  workloads:
  - selector: {labels: {istio: ingressgateway}}
  listeners:
  - {http: {}, port: {number: 80}}
---
apiVersion: networking.gloo.solo.io/v2
kind: RouteTable
metadata: {name: productpage, namespace: bookinfo-frontends}
spec:
  hosts: [bookinfo.example.com]
  virtualGateways:
  - {name: entrance, namespace: gloo-mesh-gateways, cluster: cluster1}
  http:
  - name: productpage
    forwardTo:
      destinations:
      - ref: {name: productpage, namespace: bookinfo-frontends}
        port: {number: 9080}
"""
STARS = """
apiVersion: networking.gloo.solo.io/v2
kind: RouteTable
metadata: {name: reviews, namespace: bookinfo-backends}
spec:
  hosts: [reviews.bookinfo-backends.svc.cluster.local]
  workloadSelectors:
  - {selector: {labels: {app: productpage}}}
  http:
  - name: stars
    forwardTo:
      destinations:
      - ref: {name: reviews, namespace: bookinfo-backends}
        port: {number: 9080}
        subset: {version: v2}
"""


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    """The whole default mesh."""
    with running_mesh(clusters=1) as running:
        yield running


@pytest.fixture
def entrance(mesh):
    """The gateway leads to productpage."""
    mesh.apply(ENTRANCE, "cluster1")
    yield
    mesh.delete("virtualgateway", "entrance", namespace="gloo-mesh-gateways", context="cluster1")
    mesh.delete("routetable", "productpage", namespace="bookinfo-frontends", context="cluster1")


@pytest.fixture
def stars(mesh):
    """productpage gets the reviews with stars."""
    mesh.apply(STARS, "cluster1")
    yield
    mesh.delete("routetable", "reviews", namespace="bookinfo-backends", context="cluster1")


def gateway_address(mesh: Mesh) -> str:
    service = mesh.get("services", "istio-ingressgateway", namespace="gloo-mesh-gateways", context="cluster1")
    return service["status"]["loadBalancer"]["ingress"][0]["ip"]


def enter(mesh: Mesh, path: str, headers: dict[str, str] | None = None) -> Response:
    """The gateway's answer to somebody outside."""
    connection = http.client.HTTPConnection(gateway_address(mesh), 8080, timeout=15)
    try:
        connection.request("GET", path, headers={"host": "bookinfo.example.com"} | (headers or {}))
        answer = connection.getresponse()
        text = answer.read().decode()
        return Response(status=answer.status, headers=dict(answer.getheaders()), text=text)
    finally:
        connection.close()


def is_open(mesh: Mesh) -> bool:
    """True while the gateway takes connections."""
    try:
        enter(mesh, "/health")
    except ConnectionError:
        return False
    return True


def programs(mesh: Mesh) -> dict[str, psutil.Process]:
    """The processes of the sample apps, by app and version."""
    found = {}
    for process in psutil.Process(mesh.record.pid).children(recursive=True):
        module = process.cmdline()[-1]
        if module.startswith("meshpass.localmesh.apps."):
            found[f"{module.rpartition('.')[2]}-{process.environ()['SERVICE_VERSION']}"] = process
    return found


def test_services_answer_by_their_names(mesh):
    """From any workload, each with its own shape."""
    details = mesh.request("http://details.bookinfo-backends:9080/details/0")
    ratings = mesh.request("http://ratings.bookinfo-backends:9080/ratings/0")
    reviews = {
        json.dumps(mesh.request("http://reviews.bookinfo-backends:9080/reviews/0").json()["podname"]) for _ in range(8)
    }
    page = mesh.request("http://productpage.bookinfo-frontends:9080/productpage")

    assert details.json()["ISBN-10"] == "1234567890"
    assert ratings.json() == {"id": 0, "ratings": {"Reviewer1": 5, "Reviewer2": 4}}
    assert reviews == {'"reviews-v1"', '"reviews-v2"'}
    assert "currently unavailable" not in page.text


def test_a_gateway_without_work_is_in_sync_and_closed(mesh):
    """No VirtualGateway: nothing is late, and nothing listens."""
    mesh.wait()
    gateway = mesh.workload("istio-ingressgateway", "gloo-mesh-gateways")
    proxy = next(one for one in mesh.status().proxies if one.node == gateway.node)

    assert (proxy.connected, proxy.in_sync, proxy.rejections) == (True, True, ())
    assert gateway_address(mesh) == gateway.address
    with pytest.raises(ConnectionRefusedError):
        enter(mesh, "/productpage")


def test_a_page_from_outside_takes_five_proxies(mesh, entrance, stars):
    """Gateway, productpage, details, reviews, ratings: all that the page shows came through their sidecars."""
    found = enter(mesh, "/productpage")

    assert found.status == 200
    assert "ISBN-10" in found.text
    assert "Reviews by reviews-v2, cluster cluster1" in found.text
    assert "★★★★☆" in found.text
    assert enter(mesh, "/productpage", {"host": "other.example.com"}).status == 404


def test_closing_the_entrance_closes_the_port(mesh, entrance):
    """With the VirtualGateway the listener goes."""
    assert enter(mesh, "/health").status == 200
    mesh.delete("virtualgateway", "entrance", namespace="gloo-mesh-gateways", context="cluster1")

    deadline = time.monotonic() + 10  # Envoy lets its listener drain
    while is_open(mesh) and time.monotonic() < deadline:
        pass
    assert not is_open(mesh)


def test_a_crash_is_of_one_program_alone(mesh, stars):
    """Without ratings the page says so; nobody else was started anew; ratings comes back by itself."""
    url = "http://productpage.bookinfo-frontends:9080/productpage"
    before = programs(mesh)
    assert len(before) == 7
    before["ratings-v1"].kill()

    deadline = time.monotonic() + 15
    while "★★★★☆" not in (page := mesh.request(url).text) and time.monotonic() < deadline:
        assert "ratings are currently unavailable" in page
    after = programs(mesh)

    assert "★★★★☆" in page
    assert (mesh.state.logs / "cluster1.bookinfo-backends.ratings-v1.app.log").exists()
    assert after["ratings-v1"].pid != before["ratings-v1"].pid
    assert all(after[name].pid == before[name].pid for name in before if name != "ratings-v1")
