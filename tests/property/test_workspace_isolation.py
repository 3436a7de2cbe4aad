"""What is of one workspace holds on, and is reached by name from, another only if both sides say so.

Three workspaces with one of everything, and generated settings. A policy of each asks for all that there is, by name of the
other workspaces too; a table of each sends to, delegates to and is bound to what the others have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st
from tests.property.sharing_oracle import SharingOracle
from tests.support.jwt_objects import provider
from tests.support.objects import CLUSTER_ANNOTATION, object_set, translate_objects

from meshpass.ir import DirectResponse, GatewayListener, PolicySet, Proxy, Route, RouteConfiguration

Manifest = dict[str, Any]
WORKSPACES = ("alpha", "alps", "beta")
LABELS = {"alpha": {"tier": "front"}, "alps": {"tier": "back"}, "beta": {"tier": "front"}}
OBJECT_LABELS = {"shared": "yes"}

_workspace_selectors = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from([*WORKSPACES, "al*", "*", "*a", "nobody"]),
        "selector": st.sampled_from([{"tier": "front"}, {"tier": "back"}, {}]),
    },
)
_resources = st.fixed_dictionaries(
    {"kind": st.sampled_from(["ALL", "ROUTE_TABLE", "SERVICE", "VIRTUAL_DESTINATION", "EXTERNAL_SERVICE", "API_DOC"])},
    optional={
        "labels": st.sampled_from([OBJECT_LABELS, {"shared": "no"}, {}]),
        "name": st.sampled_from(["root", "child", "service", "outside", "virtual"]),
        "namespace": st.sampled_from(WORKSPACES),
        "cluster": st.sampled_from(["cluster1", "cluster2"]),
    },
)
_entries = st.lists(
    st.fixed_dictionaries(
        {"workspaces": st.lists(_workspace_selectors, max_size=2)},
        optional={"resources": st.lists(_resources, max_size=2)},
    ),
    max_size=2,
)
# Where all is shared, or nothing is, is said often: between both is where selectors have to meet.
_all: list[Manifest] = [{"workspaces": [{"name": "*"}]}]
_sides = st.one_of(st.just(_all), st.just(_all), st.just([]), _entries, _entries, _entries)
_settings = st.fixed_dictionaries({"importFrom": _sides, "exportTo": _sides})


def manifest(kind: str, name: str, namespace: str, spec: Manifest, **labels: str) -> Manifest:
    group = {"JWTPolicy": "security.policy", "Workspace": "admin", "WorkspaceSettings": "admin"}.get(kind, "networking")
    metadata = {"name": name, "namespace": namespace, "labels": labels, "creationTimestamp": "2024-01-01T00:00:00Z"}
    return {"apiVersion": f"{group}.gloo.solo.io/v2", "kind": kind, "metadata": metadata, "spec": spec}


def core(kind: str, name: str, namespace: str, **rest: Any) -> Manifest:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, **rest}


def to(kind: str, name: str, owner: str) -> Manifest:
    reference = {"kind": kind, "ref": {"name": name, "namespace": owner}, "port": {"number": 80}}
    return {"forwardTo": {"destinations": [reference]}}


def routes_to(owner: str) -> Iterator[Manifest]:
    for kind, name in (("SERVICE", "service"), ("EXTERNAL_SERVICE", "outside"), ("VIRTUAL_DESTINATION", "virtual")):
        yield {
            "name": f"to-{name}-{owner}",
            "matchers": [{"uri": {"prefix": f"/{name}/{owner}"}}],
            **to(kind, name, owner),
        }
    delegated = {"delegate": {"routeTables": [{"name": "child", "namespace": owner}]}}
    yield {"name": f"to-child-{owner}", "matchers": [{"uri": {"prefix": f"/child/{owner}"}}], **delegated}


def of_workspace(name: str, index: int) -> Iterator[Manifest]:
    """One of everything."""
    spec: Manifest = {"workloadClusters": [{"name": "*", "namespaces": [{"name": name}]}]}
    workspace = manifest("Workspace", name, "gloo-mesh", spec, **LABELS[name])
    workspace["metadata"]["annotations"] = {CLUSTER_ANNOTATION: "mgmt"}
    yield workspace
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    port = {"name": "http", "port": 80, "targetPort": 8080}
    service = core("Service", "service", name, spec={"selector": {"app": "server"}, "ports": [port]})
    service["metadata"]["labels"] = OBJECT_LABELS
    yield service
    pod = core("Pod", "server", name, status={"podIP": f"127.0.1.{index + 1}"})
    pod["metadata"] |= {"labels": {"app": "server"}, "annotations": {"meshpass.dev/proxy": "sidecar"}}
    yield pod
    edge = core("Pod", "edge", name, status={"podIP": f"127.0.2.{index + 1}"})
    edge["metadata"] |= {"labels": {"app": "edge"}, "annotations": {"meshpass.dev/proxy": "gateway"}}
    yield edge
    yield core("Service", "ingress", name, spec={"selector": {"app": "edge"}, "ports": [port], "type": "LoadBalancer"})
    yield manifest("VirtualGateway", "gateway", name, {"listeners": [{"port": {"number": 80}, "http": {}}]})
    outside = {"hosts": [f"outside.{name}.example"], "ports": [{"number": 80, "protocol": "HTTP"}]}
    yield manifest("ExternalService", "outside", name, outside, **OBJECT_LABELS)
    virtual = {"hosts": [f"virtual.{name}.example"], "services": [{"labels": OBJECT_LABELS}]}
    virtual["ports"] = [{"number": 80, "protocol": "HTTP"}]
    yield manifest("VirtualDestination", "virtual", name, virtual, **OBJECT_LABELS)
    child = {"http": [{"name": "child", "directResponse": {"status": 200}}]}
    yield manifest("RouteTable", "child", name, child, **OBJECT_LABELS)
    gateways = [{"name": "gateway", "namespace": owner} for owner in WORKSPACES]
    http = [route for owner in WORKSPACES for route in routes_to(owner)]
    root = {"hosts": [f"{name}.example"], "virtualGateways": gateways, "workloadSelectors": [{}], "http": http}
    yield manifest("RouteTable", "root", name, root, **OBJECT_LABELS)
    everywhere: list[Manifest] = [{}, *({"workspace": other} for other in WORKSPACES)]
    providers = {"own": provider(f"https://{name}.example")}
    yield manifest(
        "JWTPolicy",
        "everything",
        name,
        {
            "applyToRoutes": [{"route": one} if one else {} for one in everywhere],
            "applyToDestinations": [{"selector": one} if one else {} for one in everywhere],
            "config": {"providers": providers},
        },
    )


def hosts_of(proxy: Proxy) -> set[str]:
    return {domain.partition(":")[0] for one in proxy.routes for host in one.virtual_hosts for domain in host.domains}


def all_routes(configurations: tuple[RouteConfiguration, ...]) -> Iterator[Route]:
    return (route for one in configurations for host in one.virtual_hosts for route in host.routes)


def issuers(policies: PolicySet, selection_class: str) -> set[str]:
    by_name = {one.name: one.issuer for one in policies.pre.providers}
    return {by_name[name] for need in policies.pre.requirements.get(selection_class, ()) for name in need.providers}


def is_replaced(route: Route) -> bool:
    return isinstance(route.action, DirectResponse) and route.action.status == 500


@given(st.fixed_dictionaries(dict.fromkeys(WORKSPACES, _settings)))
def test_nothing_crosses_workspaces_unless_both_agree(said: Mapping[str, Manifest]) -> None:
    """Hosts, references, delegation, gateways: exactly what is shared. Policies: never."""
    oracle = SharingOracle(LABELS, said)
    manifests = [one for index, name in enumerate(WORKSPACES) for one in of_workspace(name, index)]
    manifests += [manifest("WorkspaceSettings", "settings", name, spec) for name, spec in said.items()]
    proxies = translate_objects(object_set(*manifests)).proxies
    event(
        f"pairs that share a table: {sum(_shares(oracle, user, owner) for user in WORKSPACES for owner in WORKSPACES)}"
    )

    for user in WORKSPACES:
        sidecar, gateway = (
            proxies[f"{kind}~cluster1~{user}~{pod}"] for kind, pod in (("sidecar", "server"), ("gateway", "edge"))
        )
        assert any(isinstance(one, GatewayListener) for one in gateway.listeners)
        for owner in WORKSPACES:
            shares = _shares(oracle, user, owner)
            assert (f"{owner}.example" in hosts_of(sidecar)) is shares
            assert (f"{owner}.example" in hosts_of(gateway)) is shares
            for kind, name in (("ExternalService", "outside"), ("VirtualDestination", "virtual")):
                known = f"{name}.{owner}.example" in hosts_of(sidecar)
                assert known is oracle.may_use(user, owner, kind, name, OBJECT_LABELS)
        for proxy in (sidecar, gateway):
            _check_routes(proxy, oracle)
        for selection_class in sidecar.inbound_policies.pre.requirements:
            assert issuers(sidecar.inbound_policies, selection_class) <= {f"https://{user}.example"}


def _shares(oracle: SharingOracle, user: str, owner: str) -> bool:
    return oracle.may_use(user, owner, "RouteTable", "root", OBJECT_LABELS)


def _check_routes(proxy: Proxy, oracle: SharingOracle) -> None:
    """Each route of a table leads where its own workspace may send, under the policy of its own workspace alone."""
    seen = 0
    for route in all_routes(proxy.routes):
        found = re.fullmatch(r"(.+)\.(root|child)\.(\w+)\.cluster1", route.name)
        if found is None:
            continue
        seen += 1
        name, table, home = found.groups()
        assert issuers(proxy.policies, route.selection_class) == {f"https://{home}.example"}
        reference = re.fullmatch(r"to-(\w+)-(\w+)", name)
        if table == "root" and reference is not None:
            what, owner = reference.groups()
            kinds = {"service": "Service", "outside": "ExternalService", "virtual": "VirtualDestination"}
            allowed = oracle.may_use(home, owner, kinds.get(what, "RouteTable"), what, OBJECT_LABELS)
            # A route that delegates is there by itself only where there is nothing to delegate to.
            assert is_replaced(route) is not allowed
    assert seen >= len(WORKSPACES)
