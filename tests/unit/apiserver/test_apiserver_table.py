"""What ``kubectl get`` prints."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshpass.apiserver.age import parse_time, render_age, render_duration
from meshpass.apiserver.builtin import BUILTIN_RESOURCES
from meshpass.apiserver.jsonpath import find_all, render_result
from meshpass.apiserver.resource import Column, Resource
from meshpass.apiserver.table import column_definitions, render_rows, render_table

BY_KIND = {resource.kind: resource for resource in BUILTIN_RESOURCES}
NOW = datetime(2026, 1, 10, 12, 0, 0, tzinfo=UTC)
CREATED = "2026-01-07T08:00:00Z"


def make_policy_resource(*columns):
    return Resource(
        group="policy.example.io",
        version="v1",
        kind="Policy",
        plural="policies",
        singular="policy",
        namespaced=True,
        schema={"type": "object"},
        columns=columns,
    )


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-2, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (121, "2m1s"),
        (599, "9m59s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 60, "3h1m"),
        (8 * 3600, "8h"),
        (48 * 3600 - 1, "47h"),
        (48 * 3600, "2d"),
        (76 * 3600, "3d4h"),
        (8 * 86400, "8d"),
        (729 * 86400, "729d"),
        (730 * 86400, "2y"),
        (731 * 86400, "2y1d"),
        (3000 * 86400, "8y"),
    ],
)
def test_durations_have_two_units_at_most(seconds, expected):
    assert expected == render_duration(timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (CREATED, "3d4h"),
        ("2026-01-10T11:59:15.123456789Z", "44s"),
        ("2026-01-10T13:00:00+02:00", "60m"),
        (None, "<unknown>"),
        ("", "<unknown>"),
        ("soon", "<invalid>"),
        (5, "<invalid>"),
    ],
)
def test_ages(timestamp, expected):
    assert expected == render_age(timestamp, NOW)


def test_times_are_read_in_utc():
    assert parse_time("2026-01-10T13:00:00+01:00") == NOW


OBJECT = {
    "metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "x"}},
    "spec": {"hosts": ["a", "b", "c"], "ports": [{"name": "http", "number": 80}, {"name": "tls", "number": 443}]},
    "status": {"conditions": [{"type": "Accepted", "status": "True"}, {"type": "Programmed", "status": "False"}]},
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".metadata.name", ["a"]),
        ("{.metadata.name}", ["a"]),
        ("$.metadata.name", ["a"]),
        (".metadata['name']", ["a"]),
        (r".metadata.labels.app\.kubernetes\.io/name", ["x"]),
        (".metadata.labels['app.kubernetes.io/name']", ["x"]),
        (".spec.hosts", [["a", "b", "c"]]),
        (".spec.hosts[0]", ["a"]),
        (".spec.hosts[-1]", ["c"]),
        (".spec.hosts[0:2]", ["a", "b"]),
        (".spec.hosts[*]", ["a", "b", "c"]),
        (".spec.ports[*].name", ["http", "tls"]),
        ('.status.conditions[?(@.type=="Programmed")].status', ["False"]),
        (".status.conditions[?(@.type == 'Accepted')].status", ["True"]),
        (".spec.ports[?(@.number>80)].name", ["tls"]),
        (".spec.ports[?(@.missing)].name", []),
        (".spec.ports[?(@.name)].number", [80, 443]),
        (".spec.ports[?(@.name > 5)].number", []),
        (".spec.missing.deeper", []),
        (".spec.hosts[9]", []),
        (".spec.hosts.name", []),
        (".metadata.labels.*", ["x"]),
        (".", [OBJECT]),
        (".spec[", []),
        (".spec.ports[?(@.a==)]", []),
    ],
)
def test_paths_lead_where_kubernetes_lets_them(path, expected):
    assert expected == find_all(path, OBJECT)


@pytest.mark.parametrize(
    ("value", "expected"), [("a", "a"), (5, "5"), (True, "true"), (["a"], '["a"]'), ({"b": 1}, '{"b":1}')]
)
def test_results_are_text_or_json(value, expected):
    assert expected == render_result(value)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("string", "x", "x"),
        ("string", 5, "5"),
        ("string", ["a", "b"], '["a","b"]'),
        ("string", None, None),
        ("integer", 5, 5),
        ("integer", 5.9, 5),
        ("integer", "5", None),
        ("integer", True, None),
        ("number", 5, 5.0),
        ("number", False, None),
        ("boolean", True, True),
        ("boolean", "true", None),
        ("date", CREATED, "3d4h"),
        ("date", "soon", "<invalid>"),
        ("date", 5, None),
    ],
)
def test_cells_of_custom_resources_follow_the_columns_type(kind, value, expected):
    """A value of another type than its column's is an empty cell."""
    resource = make_policy_resource(Column(name="Value", type=kind, json_path=".spec.value"))
    (row,) = render_rows(resource, [{"metadata": {"name": "p"}, "spec": {"value": value}}], now=NOW)
    assert row["cells"] == ["p", expected]
    assert type(row["cells"][1]) is type(expected)


def test_a_missing_value_is_an_empty_cell():
    resource = make_policy_resource(Column(name="Value", type="string", json_path=".spec.value"))
    (row,) = render_rows(resource, [{"metadata": {"name": "p"}}], now=NOW)
    assert row["cells"] == ["p", None]


def test_without_columns_the_age_is_shown():
    """As Kubernetes does for a CRD that declares none."""
    table = render_table(
        make_policy_resource(),
        [{"metadata": {"name": "p", "creationTimestamp": CREATED}}, {"metadata": {"name": "q"}}],
        now=NOW,
        list_metadata={"resourceVersion": "7"},
    )
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Age"]
    assert [row["cells"] for row in table["rows"]] == [["p", "3d4h"], ["q", "<unknown>"]]
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert table["metadata"] == {"resourceVersion": "7"}


def test_column_definitions_are_complete():
    column = Column(name="Value", type="string", json_path=".spec.value", priority=1)
    assert column_definitions(make_policy_resource(column))[1] == {
        "name": "Value",
        "type": "string",
        "format": "",
        "description": "Custom resource definition column (in JSONPath format): .spec.value",
        "priority": 1,
    }


@pytest.mark.parametrize(
    ("include", "expected"),
    [
        ("None", None),
        ("Object", {"metadata": {"name": "p"}, "spec": {}}),
        (
            "Metadata",
            {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "p"}},
        ),
    ],
)
def test_rows_hold_as_much_of_the_object_as_asked(include, expected):
    obj = {"metadata": {"name": "p"}, "spec": {}}
    (row,) = render_rows(make_policy_resource(), [obj], include_object=include, now=NOW)
    assert expected == row.get("object")


HEADS = {
    "ConfigMap": "Name Data Age",
    "CustomResourceDefinition": "Name|Created At",
    "Deployment": "Name Ready Up-to-date Available Age +Containers +Images +Selector",
    "EndpointSlice": "Name AddressType Ports Endpoints Age",
    "Event": "Last Seen|Type|Reason|Object|+Subobject|+Source|Message|+First Seen|+Count|+Name",
    "Lease": "Name Holder Age",
    "Namespace": "Name Status Age",
    "Pod": "Name|Ready|Status|Restarts|Age|+IP|+Node|+Nominated Node|+Readiness Gates",
    "Secret": "Name Type Data Age",
    "Service": "Name Type Cluster-IP External-IP Port(s) Age +Selector",
    "ServiceAccount": "Name Secrets Age",
}


@pytest.mark.parametrize("kind", HEADS)
def test_heads_of_kubernetes_own_kinds(kind):
    """The columns of kubectl, those of ``-o wide`` marked with a plus."""
    found = [("+" if column["priority"] else "") + column["name"] for column in column_definitions(BY_KIND[kind])]
    assert HEADS[kind].split("|" if "|" in HEADS[kind] else " ") == found


def container_status(ready, state, restarts=0, last=None):
    status = {"ready": ready, "state": state, "restartCount": restarts}
    return status | ({"lastState": {"terminated": {"finishedAt": last}}} if last else {})


@pytest.mark.parametrize(
    ("kind", "obj", "expected"),
    [
        ("Namespace", {"status": {"phase": "Active"}}, ["x", "Active", "3d4h"]),
        ("ConfigMap", {"data": {"a": ""}, "binaryData": {"b": ""}}, ["x", 2, "3d4h"]),
        ("Secret", {"type": "Opaque", "data": {"a": ""}}, ["x", "Opaque", 1, "3d4h"]),
        ("ServiceAccount", {}, ["x", 0, "3d4h"]),
        (
            "Service",
            {
                "spec": {
                    "type": "ClusterIP",
                    "clusterIP": "10.0.0.1",
                    "ports": [{"port": 8000, "protocol": "TCP"}, {"port": 53, "nodePort": 30053, "protocol": "UDP"}],
                    "selector": {"b": "2", "a": "1"},
                }
            },
            ["x", "ClusterIP", "10.0.0.1", "<none>", "8000/TCP,53:30053/UDP", "3d4h", "a=1,b=2"],
        ),
        (
            "Service",
            {"spec": {"type": "ExternalName", "externalName": "a.b"}},
            ["x", "ExternalName", "<none>", "a.b", "<none>", "3d4h", "<none>"],
        ),
        (
            "Service",
            {"spec": {"type": "LoadBalancer"}},
            ["x", "LoadBalancer", "<none>", "<pending>", "<none>", "3d4h", "<none>"],
        ),
        (
            "Service",
            {
                "spec": {"type": "LoadBalancer", "externalIPs": ["2.2.2.2"]},
                "status": {"loadBalancer": {"ingress": [{"ip": "1.1.1.1"}, {"hostname": "h"}]}},
            },
            ["x", "LoadBalancer", "<none>", "1.1.1.1,h,2.2.2.2", "<none>", "3d4h", "<none>"],
        ),
        (
            "Pod",
            {
                "spec": {"containers": [{}, {}], "nodeName": "n", "readinessGates": [{"conditionType": "g"}]},
                "status": {
                    "phase": "Running",
                    "podIP": "127.0.0.5",
                    "conditions": [{"type": "g", "status": "True"}],
                    "containerStatuses": [
                        container_status(True, {"running": {}}, 2, "2026-01-10T11:55:00Z"),
                        container_status(False, {"running": {}}),
                    ],
                },
            },
            ["x", "1/2", "Running", "2 (5m ago)", "3d4h", "127.0.0.5", "n", "<none>", "1/1"],
        ),
        (
            "Pod",
            {
                "spec": {"containers": [{}]},
                "status": {
                    "phase": "Running",
                    "containerStatuses": [container_status(False, {"waiting": {"reason": "CrashLoopBackOff"}}, 3)],
                },
            },
            ["x", "0/1", "CrashLoopBackOff", "3", "3d4h", "<none>", "<none>", "<none>", "<none>"],
        ),
        (
            "Pod",
            {
                "status": {
                    "phase": "Failed",
                    "containerStatuses": [container_status(False, {"terminated": {"exitCode": 3}})],
                }
            },
            ["x", "0/0", "ExitCode:3", "0", "3d4h", "<none>", "<none>", "<none>", "<none>"],
        ),
        (
            "Pod",
            {"status": {"phase": "Running"}, "metadata": {"deletionTimestamp": CREATED}},
            ["x", "0/0", "Terminating", "0", "3d4h", "<none>", "<none>", "<none>", "<none>"],
        ),
        (
            "Event",
            {
                "type": "Warning",
                "reason": "Failed",
                "message": " no key\n",
                "involvedObject": {"kind": "JWTPolicy", "name": "p", "fieldPath": "spec"},
                "source": {"component": "meshpass", "host": "h"},
                "firstTimestamp": "2026-01-10T11:00:00Z",
                "lastTimestamp": "2026-01-10T11:59:50Z",
                "count": 4,
            },
            ["10s", "Warning", "Failed", "jwtpolicy/p", "spec", "meshpass, h", "no key", "60m", 4, "x"],
        ),
        (
            "Event",
            {
                "eventTime": "2026-01-10T11:59:00.000000Z",
                "reportingComponent": "c",
                "involvedObject": {"kind": "Node"},
                "series": {"count": 9, "lastObservedTime": "2026-01-10T11:59:58.000000Z"},
            },
            ["2s", "", "", "node", "", "c", "", "60s", 9, "x"],
        ),
        (
            "EndpointSlice",
            {
                "addressType": "IPv4",
                "ports": [{"port": 80}, {}],
                "endpoints": [{"addresses": ["1.1.1.1", "1.1.1.2"]}, {"addresses": ["1.1.1.3", "1.1.1.4"]}],
            },
            ["x", "IPv4", "80,*", "1.1.1.1,1.1.1.2,1.1.1.3 + 1 more...", "3d4h"],
        ),
        ("EndpointSlice", {"addressType": "IPv4"}, ["x", "IPv4", "<unset>", "<unset>", "3d4h"]),
        ("Lease", {"spec": {"holderIdentity": "agent-1"}}, ["x", "agent-1", "3d4h"]),
        (
            "Deployment",
            {
                "spec": {
                    "replicas": 2,
                    "selector": {"matchLabels": {"a": "b"}},
                    "template": {"spec": {"containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "j"}]}},
                },
                "status": {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1},
            },
            ["x", "1/2", 2, 1, "3d4h", "c,d", "i,j", "a=b"],
        ),
        ("CustomResourceDefinition", {}, ["x", CREATED]),
    ],
)
def test_rows_of_kubernetes_own_kinds(kind, obj, expected):
    """The cells of kubectl."""
    metadata = {"name": "x", "creationTimestamp": CREATED, **obj.get("metadata", {})}
    (row,) = render_rows(BY_KIND[kind], [{**obj, "metadata": metadata}], now=NOW)
    assert expected == row["cells"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "spec",
                    "status",
                    "metadata",
                    "name",
                    "ports",
                    "port",
                    "type",
                    "endpoints",
                    "addresses",
                    "containers",
                    "containerStatuses",
                    "restartCount",
                    "state",
                    "terminated",
                    "series",
                    "creationTimestamp",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@settings(max_examples=300, deadline=None)
@given(
    resource=st.sampled_from(
        [*BUILTIN_RESOURCES, make_policy_resource(Column(name="V", type="integer", json_path=".spec[*]"))]
    ),
    obj=st.dictionaries(st.sampled_from(["metadata", "spec", "status", "ports", "endpoints", "series"]), JSON),
)
def test_every_row_is_as_long_as_the_head(resource, obj):
    """Whatever an object holds, its row has one cell for each column."""
    (row,) = render_rows(resource, [obj], now=NOW)
    assert len(row["cells"]) == len(column_definitions(resource))


@given(path=st.text(alphabet=".[]{}?()@='\"*:-1a\\$<>! ", max_size=15), value=JSON)
def test_no_path_raises(path, value):
    """A path that makes no sense finds something or nothing."""
    assert isinstance(find_all(path, value), list)
