"""Generated meshes: a few objects of each kind with overlapping names, labels and claims, so that they meet.

Objects are manifests as ``tests.support.objects`` reads them. Every route has a name of its own and every policy an
issuer of its own, ``https://<cluster>.<namespace>.<name>.example``, by which a test finds them again in a Snapshot.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from tests.support.objects import CLUSTER_ANNOTATION, jwt_policy, key_of, route_table

NAMESPACES = ("a", "b")
CLUSTERS = ("mgmt", "cluster1", "cluster2")
SERVICES = ("one", "two")
PORTS = ({"port": 80, "name": "first"}, {"port": 8000, "name": "second"})
KEY = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYhQt68H03EOmD9zRkYoTlOp9lTyA
vZWMk8a3OVEfCPdoIYLLmXb4lKi0mVfm67GRI8Q5psTdJYQ1X94vjxdD+g==
-----END PUBLIC KEY-----
"""

_times = st.sampled_from(["", "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z", "2024-01-03T00:00:00Z"])
_labels = st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["1", "2"]), max_size=2)
_places = st.fixed_dictionaries(
    {}, optional={"namespace": st.sampled_from(NAMESPACES), "cluster": st.sampled_from(CLUSTERS)}
)


def _object(api_version: str, kind: str, name: str, namespace: str, cluster: str, **rest: Any) -> dict[str, Any]:
    metadata = {"name": name, "annotations": {CLUSTER_ANNOTATION: cluster}, **rest.pop("metadata", {})}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


FIXED: tuple[dict[str, Any], ...] = (
    *(_object("v1", "Namespace", name, "", cluster) for name in NAMESPACES for cluster in CLUSTERS),
    *(
        _object(
            "v1",
            "Pod",
            name,
            name,
            "cluster1",
            metadata={
                "labels": {"app": name},
                "annotations": {CLUSTER_ANNOTATION: "cluster1", "meshpass.dev/proxy": "sidecar"},
            },
            status={"podIP": f"127.0.1.{number}"},
        )
        for number, name in enumerate(NAMESPACES, 1)
    ),
    *(
        _object(
            "v1", "Service", name, namespace, "cluster1", metadata={"labels": {"x": "1"}}, spec={"ports": PORTS[:1]}
        )
        for name in SERVICES
        for namespace in NAMESPACES
    ),
)
"""In every generated mesh: the namespaces, and in each of them in cluster1 a sidecar and the Services."""

WHOLE = _object(
    "admin.gloo.solo.io/v2",
    "Workspace",
    "w1",
    "gloo-mesh",
    "mgmt",
    metadata={"creationTimestamp": "2024-01-01T00:00:00Z"},
    spec={"workloadClusters": [{"name": "*", "namespaces": [{"name": "*"}]}]},
)
"""A Workspace that has everything."""


@st.composite
def services(draw: st.DrawFn) -> dict[str, Any]:
    """A Service with one or two ports, with a label."""
    return _object(
        "v1",
        "Service",
        draw(st.sampled_from(SERVICES)),
        draw(st.sampled_from(NAMESPACES)),
        draw(st.sampled_from(["cluster1", "cluster1", "cluster2"])),
        metadata={"labels": draw(_labels)},
        spec={"ports": PORTS[: draw(st.integers(1, 2))], "selector": {"app": draw(st.sampled_from(NAMESPACES))}},
    )


@st.composite
def workspaces(draw: st.DrawFn) -> dict[str, Any]:
    """A Workspace that claims some namespaces of some clusters."""
    clusters = st.fixed_dictionaries(
        {
            "name": st.sampled_from(["*", "cluster1", "cluster2", ""]),
            "namespaces": st.lists(
                st.fixed_dictionaries({"name": st.sampled_from(["*", *NAMESPACES])}), min_size=1, max_size=2
            ),
        }
    )
    return _object(
        "admin.gloo.solo.io/v2",
        "Workspace",
        draw(st.sampled_from(["w1", "w2"])),
        "gloo-mesh",
        "mgmt",
        metadata={"creationTimestamp": draw(_times)},
        spec={"workloadClusters": draw(st.lists(clusters, min_size=1, max_size=2))},
    )


def _destinations() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"ref": st.fixed_dictionaries({"name": st.sampled_from(SERVICES)}, optional=_place_fields())},
        optional={"port": st.sampled_from([{"number": 80}, {"name": "second"}, {"number": 1}])},
    )


def _place_fields() -> dict[str, Any]:
    return {"namespace": st.sampled_from(NAMESPACES), "cluster": st.sampled_from(CLUSTERS[1:])}


@st.composite
def route_tables(draw: st.DrawFn) -> dict[str, Any]:
    """A RouteTable with up to three routes, on hosts that others have too."""
    actions = st.one_of(
        st.fixed_dictionaries(
            {"forwardTo": st.fixed_dictionaries({"destinations": st.lists(_destinations(), min_size=1, max_size=2)})}
        ),
        st.just({"directResponse": {"status": 200, "body": "here"}}),
        st.just({"redirect": {}}),
    )
    matchers = st.lists(
        st.sampled_from([{}, {"uri": {"prefix": "/a"}}, {"headers": [{"name": "h"}]}, {"uri": {"suffix": "x"}}]),
        max_size=2,
    )
    http = [
        {"name": f"r{index}", "labels": draw(_labels), "matchers": draw(matchers), **draw(actions)}
        for index in range(draw(st.integers(1, 3)))
    ]
    table = route_table(
        draw(st.sampled_from(["t1", "t2"])),
        cluster=draw(st.sampled_from(["cluster1", "cluster1", "mgmt"])),
        created=draw(_times),
        namespace=draw(st.sampled_from(NAMESPACES)),
        labels=draw(_labels),
        hosts=draw(st.lists(st.sampled_from(["www.example.com", "one", "two.b", "*.example.com"]), max_size=2)),
        http=http,
    )
    if draw(st.booleans()):
        table["spec"]["workloadSelectors"] = draw(st.sampled_from([[{}], [{"selector": {"labels": {"no": "pod"}}}]]))
    return table


def selectors() -> st.SearchStrategy[dict[str, Any]]:
    """An entry of applyToRoutes."""
    route = st.tuples(st.fixed_dictionaries({}, optional={"labels": _labels}), _places).map(
        lambda parts: {"route": {**parts[0], **parts[1]}}
    )
    with_destinations = destination_selectors().map(lambda wanted: {"withDestinations": wanted})
    return st.one_of(st.just({}), route, with_destinations)


def destination_selectors() -> st.SearchStrategy[dict[str, Any]]:
    """An entry of applyToDestinations."""
    return st.fixed_dictionaries(
        {},
        optional={
            "selector": st.fixed_dictionaries(
                {},
                optional={
                    "name": st.sampled_from(SERVICES),
                    "labels": _labels,
                    "namespace": st.sampled_from(NAMESPACES),
                    "cluster": st.sampled_from(CLUSTERS),
                },
            ),
            "port": st.sampled_from([{"number": 80}, {"name": "second"}]),
        },
    )


BROKEN_CONFIGS: tuple[dict[str, Any], ...] = (
    {},
    {"providers": {}},
    {"providers": {"p": {}}},
    {"providers": {"p": {"local": {"inline": "garbage"}}}},
    {"providers": {"p": {"local": {"inline": KEY}, "claimsToHeaders": [{"claim": "", "header": "x"}]}}},
    {"providers": {"p": {"local": {"inline": KEY, "secretRef": {}}}}},
    {"unknown": 1},
)
"""Configurations that cannot be built: what has one of these denies."""


@st.composite
def policies(draw: st.DrawFn, *, broken: bool | None = None) -> dict[str, Any]:
    """A JWTPolicy whose selectors are well-formed; its configuration may not be."""
    name, namespace = draw(st.sampled_from(["p1", "p2"])), draw(st.sampled_from(NAMESPACES))
    cluster = draw(st.sampled_from(CLUSTERS))
    is_broken = draw(st.sampled_from([False, True, False])) if broken is None else broken
    config = draw(st.sampled_from(BROKEN_CONFIGS)) if is_broken else sound_config(cluster, namespace, name)
    spec: dict[str, Any] = {"config": config}
    if draw(st.booleans()):
        spec["applyToRoutes"] = draw(st.lists(selectors(), max_size=2))
    if draw(st.integers(0, 2)) == 2:
        spec["applyToDestinations"] = draw(st.lists(destination_selectors(), max_size=2))
    return jwt_policy(name, cluster=cluster, created=draw(_times), namespace=namespace, **spec)


def sound_config(cluster: str, namespace: str, name: str) -> dict[str, Any]:
    """A configuration that can be built; the issuer names the policy."""
    return {
        "providers": {
            "p": {
                "issuer": issuer_of(cluster, namespace, name),
                "local": {"inline": KEY},
                "claimsToHeaders": [{"claim": "org", "header": f"x-{name}"}],
            }
        }
    }


def issuer_of(cluster: str, namespace: str, name: str) -> str:
    """How a policy is known in a Snapshot."""
    return f"https://{cluster}.{namespace}.{name}.example"


def json_values() -> st.SearchStrategy[Any]:
    """Any JSON, with some of the words that the API knows."""
    words = st.sampled_from(["route", "labels", "x", "1", "providers", "local", "inline", "prefix", "*", KEY])
    leaves = st.one_of(
        st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.text(max_size=8), words
    )
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | st.text(max_size=4), inner, max_size=3),
    )


@st.composite
def damaged(draw: st.DrawFn, manifests: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    """A manifest with garbage in place of some part of its spec, or beside it."""
    manifest = draw(manifests)
    return {**manifest, "spec": _damage(draw, manifest["spec"])}


def _damage(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        name = draw(st.sampled_from(sorted(value)))
        return {**value, name: _damage(draw, value[name])}
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], _damage(draw, value[index]), *value[index + 1 :]]
    if isinstance(value, dict) and draw(st.booleans()):
        return {**value, draw(st.text(max_size=4)): draw(json_values())}
    return draw(json_values())


@st.composite
def meshes(draw: st.DrawFn, policy: st.SearchStrategy[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """The manifests of a mesh; no two have one key."""
    drawn = [
        *FIXED,
        *draw(st.one_of(st.just([WHOLE]), st.lists(workspaces(), min_size=1, max_size=2))),
        *draw(st.lists(services(), max_size=3)),
        *draw(st.lists(route_tables(), min_size=1, max_size=3)),
        *draw(st.lists(policies() if policy is None else policy, max_size=3)),
    ]
    return list({key_of(raw): raw for raw in drawn}.values())
