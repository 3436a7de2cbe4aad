"""East-west gateways: which of them a workspace has, and where they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from tests.support.catalog import endpoint_slice
from tests.support.objects import CLUSTER_ANNOTATION, object_set

from meshpass.api.admin import EastWestGateway, WorkspaceOptions
from meshpass.api.core import EndpointSlice, Pod, Service
from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.ir import Endpoint
from meshpass.memo import Memo
from meshpass.translate.eastwest import EastWest, EastWestPort, FoundEastWest, find_east_west
from meshpass.translate.eastwestdoor import LABELS
from meshpass.translate.endpointplace import find_places
from meshpass.translate.gatewayworkload import find_workloads
from meshpass.translate.viewer import Viewer
from meshpass.translate.workspace import WorkspaceIndex
from meshpass.translate.workspacesettings import EffectiveSettings, SettingsIndex

PLACES = {("cluster2", "gateways"): "team", ("cluster1", "gateways"): "team", ("cluster2", "elsewhere"): "others"}
SETTINGS = ObjectKey("WorkspaceSettings", "mgmt", "httpbin", "settings")
POD = ObjectKey("Pod", "cluster2", "gateways", "east-0")
PLACE = ("team", "cluster2")
TLS = {"name": "tls", "port": 443, "targetPort": 15443}
AT_POD = Endpoint("10.2.0.9", 15443, mutual_tls=True)


def workspaces(*selectors: Mapping[str, Any]) -> WorkspaceIndex:
    gateways = tuple(msgspec.convert(one, EastWestGateway) for one in selectors)
    team = EffectiveSettings(key=SETTINGS, options=WorkspaceOptions(east_west_gateways=gateways))
    settings = SettingsIndex(of_workspace={"team": team, "others": EffectiveSettings()})
    return WorkspaceIndex(owners=PLACES, read=frozenset(PLACES), selected={}, findings=(), settings=settings)


def gateway(
    *ports: Mapping[str, Any],
    ingress: tuple[Mapping[str, str], ...] = ({"ip": "10.2.0.9"},),
    cluster: str = "cluster2",
    namespace: str = "gateways",
    address: str = "10.2.0.9",
    labels: Mapping[str, str] = LABELS,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pod and the Service of one."""
    labels = dict(labels)
    place = {"namespace": namespace, "labels": labels}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "east-0",
            **place,
            "annotations": {CLUSTER_ANNOTATION: cluster, "meshpass.dev/proxy": "gateway"},
        },
        "status": {"podIP": address},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "east", **place, "annotations": {CLUSTER_ANNOTATION: cluster}},
        "spec": {"selector": labels, "ports": list(ports or (TLS,))},
        "status": {"loadBalancer": {"ingress": list(ingress)}},
    }
    return pod, service


def find(
    *manifests: Mapping[str, Any],
    selectors: tuple[Mapping[str, Any], ...] = (),
    taken: Mapping[ObjectKey, frozenset[int]] | None = None,
    memo: Memo | None = None,
) -> FoundEastWest:
    objects: ObjectSet = object_set(*(manifests or gateway()))
    memo = memo or Memo()
    pods, services = objects.all(Pod), objects.all(Service)
    return find_east_west(
        find_workloads(pods, services),
        services,
        find_places(objects.all(EndpointSlice), pods, services, memo),
        workspaces(*selectors),
        taken or {},
        memo,
    )


def words(found: FoundEastWest) -> str:
    return "; ".join(map(str, found.findings["team"]))


def test_by_default_it_is_what_has_the_label_and_a_port_named_tls() -> None:
    """Of every workspace: the way between clusters is everybody's."""
    found = find()

    assert dict(found.east_west.addresses) == {PLACE: (AT_POD,), ("others", "cluster2"): (AT_POD,)}
    assert dict(found.east_west.ports) == {POD: (EastWestPort(15443, ("others", "team")),)}
    assert dict(found.counts) == {"team": 1, "others": 1}
    assert words(found) == ""


@pytest.mark.parametrize(
    ("ingress", "addresses"),
    [
        pytest.param(({"ip": "192.0.2.1"},), [("192.0.2.1", 443)], id="address"),
        pytest.param(({"hostname": "LB.Example."},), [("lb.example", 443)], id="host"),
        pytest.param(({"ip": "10.2.0.9"},), [("10.2.0.9", 15443)], id="the-pod"),
        pytest.param(({"ip": "192.0.2.1"}, {"ip": "10.2.0.9"}), [("10.2.0.9", 15443), ("192.0.2.1", 443)], id="both"),
        pytest.param(({"hostname": "*.x"}, {}), [], id="nonsense"),
        pytest.param((), [], id="none"),
    ],
)
def test_it_is_where_its_load_balancer_is(
    ingress: tuple[dict[str, str], ...], addresses: list[tuple[str, int]]
) -> None:
    """On the port of the Service; on that of the pod, where the balancer is the pod."""
    found = find(*gateway(ingress=ingress)).east_west.addresses[PLACE]

    assert [(one.address, one.port) for one in found] == addresses
    assert all(one.mutual_tls for one in found)


def test_a_pod_that_is_known_to_be_away_is_left_out() -> None:
    """One of whose readiness nothing is known is not."""
    place = {"namespace": "gateways", "cluster": "cluster2", "labels": {"kubernetes.io/service-name": "east"}}
    for addresses, found in (((), ()), (("10.2.0.8",), ()), (("10.2.0.9",), (AT_POD,))):
        slices = endpoint_slice("east", *addresses, place=place, tls=15443)
        assert find(*gateway(), slices).east_west.addresses[PLACE] == found


@pytest.mark.parametrize(
    ("selector", "addresses"),
    [
        ({"hostInfoOverrides": [{"addr": "192.0.2.5"}]}, [("192.0.2.5", 443)]),
        ({"hostInfoOverrides": [{"addr": "E.Example", "port": 9}]}, [("e.example", 9)]),
        ({"port": {"number": 443}}, [("10.2.0.9", 15443)]),
        ({"port": {}}, [("10.2.0.9", 15443)]),
        ({"port": {"name": "tls"}, "selector": {"name": "east", "workspace": "team"}}, [("10.2.0.9", 15443)]),
    ],
)  # fmt: skip
def test_settings_say_which_and_where(selector: dict[str, Any], addresses: list[tuple[str, int]]) -> None:
    """Instead of what is found out."""
    found = find(selectors=(selector,))

    assert [(one.address, one.port) for one in found.east_west.addresses[PLACE]] == addresses
    assert words(found) == ""


@pytest.mark.parametrize(
    ("selector", "said"),
    [
        ({"selector": {"labels": {"app": "x"}}}, "spec.options.eastWestGateways[0]: selects neither"),
        ({"selector": {"cluster": "cluster1"}}, "nor one that workspace team has or imports"),
        ({"port": {"number": 1}}, "eastWestGateways[0].port: gateway gateways/east of cluster cluster2 has no port 1"),
        ({"port": {"name": "x"}}, "has no port x, and none that would end TLS"),
        (
            {"port": {"name": "x"}, "tlsTerminationPort": {"name": "tls"}},
            "tlsTerminationPort: gateway gateways/east of cluster cluster2 has a port that would end TLS only",
        ),
        ({"hostInfoOverrides": [{"addr": "a b"}]}, "hostInfoOverrides[0].addr: 'a b' is neither an IP address nor"),
        ({"hostInfoOverrides": [{"addr": "*.x"}]}, "'*.x' is neither an IP address nor a host name"),
    ],
)
def test_what_is_wrong_is_said_with_its_path(selector: dict[str, Any], said: str) -> None:
    """In the status of the settings."""
    found = find(selectors=(selector,))

    assert said in words(found)
    assert found.east_west.addresses.get(PLACE, ()) == ()


def test_addresses_for_gateways_of_several_clusters_are_warned_of() -> None:
    """Which of them an address leads to nobody knows."""
    both = (*gateway(), *gateway(cluster="cluster1", address="10.1.0.9"))
    found = find(*both, selectors=({"hostInfoOverrides": [{"addr": "192.0.2.5"}]},))

    assert "are the same addresses for 2 gateways in 2 clusters" in words(found)


@pytest.mark.parametrize(
    ("namespace", "labels", "counts"),
    [
        pytest.param("elsewhere", {"istio": "eastwestgateway"}, {"team": 1, "others": 1}, id="for-all"),
        pytest.param("elsewhere", {"istio": "ingressgateway"}, {"team": 0, "others": 0}, id="not-shared"),
        pytest.param("gateways", {"istio": "ingressgateway"}, {"team": 1, "others": 0}, id="own"),
        pytest.param("nowhere", {"istio": "eastwestgateway"}, {"team": 0, "others": 0}, id="of-no-workspace"),
    ],
)
def test_a_gateway_of_another_workspace_is_for_all_by_its_label(
    namespace: str, labels: dict[str, str], counts: dict[str, int]
) -> None:
    """One that has not got it, and is not shared, is taken by nobody who merely selects it."""
    found = find(*gateway(namespace=namespace, labels=labels), selectors=({"selector": {"name": "east"}},))

    assert dict(found.counts) == counts
    assert {workspace for workspace, _ in found.east_west.addresses} == {one for one, count in counts.items() if count}


def test_a_selector_means_the_workspace_of_the_gateway() -> None:
    """Not the one that selects."""
    for workspace, count in (("others", 1), ("team", 0)):
        found = find(*gateway(namespace="elsewhere"), selectors=({"selector": {"workspace": workspace}},))
        assert found.counts["team"] == count


def test_a_port_that_a_virtual_gateway_has_is_not_taken_from_it() -> None:
    """Another port would be another matter."""
    taken = find(selectors=({},), taken={POD: frozenset({15443})})
    free = find(selectors=({},), taken={POD: frozenset({8080})})

    assert (dict(taken.east_west.addresses), dict(taken.east_west.ports)) == ({}, {})
    assert "a VirtualGateway has port 443 of gateway gateways/east of cluster cluster2" in words(taken)
    assert set(free.east_west.ports) == {POD}


def test_what_did_not_change_keeps_its_identity() -> None:
    """Whatever else of the Services and pods did."""
    memo = Memo()

    assert find(memo=memo).east_west is find(memo=memo).east_west


PODS = (Endpoint("10.2.0.1", 8080, mutual_tls=True), Endpoint("10.2.0.2", 8080))


@pytest.mark.parametrize(
    ("cluster", "pods", "reached"),
    [
        pytest.param("cluster2", PODS, PODS, id="own-cluster"),
        pytest.param("cluster1", PODS, (AT_POD,), id="gateway"),
        pytest.param("cluster1", PODS[1:], (), id="nobody-ends-the-tls"),
        pytest.param("cluster1", (), (), id="nobody"),
    ],
)
def test_pods_of_another_cluster_are_reached_by_its_gateways(
    cluster: str, pods: tuple[Endpoint, ...], reached: tuple[Endpoint, ...]
) -> None:
    """Never past them."""
    viewer = Viewer(cluster=cluster, east_west=EastWest(addresses={PLACE: (AT_POD,)}))

    assert viewer.reach("team", "cluster2", pods) == reached


def test_pods_of_a_cluster_without_gateways_are_reached_as_they_are() -> None:
    """The network is flat then. A gateway without an address is one all the same."""
    assert Viewer(cluster="cluster1", east_west=EastWest()).reach("team", "cluster2", PODS) == PODS
    pending = EastWest(addresses={PLACE: ()})
    assert Viewer(cluster="cluster1", east_west=pending).reach("team", "cluster2", PODS) == ()
    assert Viewer(cluster="cluster1", east_west=pending).reach("others", "cluster2", PODS) == PODS
    assert Viewer(cluster="cluster1", east_west=pending).reach(None, "cluster2", PODS) == PODS
