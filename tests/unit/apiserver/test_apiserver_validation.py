"""What an object must be: its schema, its metadata, the rules of Kubernetes' own kinds, and strict decoding."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.policy_resource import POLICY, make_policy

from meshpass.apiserver.builtin import BUILTIN_RESOURCES
from meshpass.apiserver.cause import Cause, CauseReason, aggregate_message, invalid, required
from meshpass.apiserver.defaulting import apply_defaults
from meshpass.apiserver.pruning import prune
from meshpass.apiserver.unknownfields import unknown_fields
from meshpass.apiserver.validation import validate, validate_update

BY_KIND = {resource.kind: resource for resource in BUILTIN_RESOURCES}

SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character (e.g. 'example.com', "
    "regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', "
    "regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
KEY = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', "
    "regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', "
    "regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


@pytest.mark.parametrize(
    ("kind", "metadata", "expected"),
    [
        ("ConfigMap", {"name": "a.b-1"}, []),
        ("ConfigMap", {}, ["metadata.name: Required value: name or generateName is required"]),
        ("ConfigMap", {"name": "A"}, [f'metadata.name: Invalid value: "A": {SUBDOMAIN}']),
        (
            "ConfigMap",
            {"name": "a" * 254},
            [f'metadata.name: Invalid value: "{"a" * 254}": must be no more than 253 characters'],
        ),
        ("Namespace", {"name": "a.b"}, ['metadata.name: Invalid value: "a.b": must not contain dots']),
        ("Namespace", {"name": "A"}, [f'metadata.name: Invalid value: "A": {LABEL}']),
        ("Namespace", {"name": "a", "namespace": "b"}, ["metadata.namespace: Forbidden: not allowed on this type"]),
        ("ConfigMap", {"name": "a", "generateName": "a-"}, []),
        (
            "ConfigMap",
            {"name": "a", "generateName": "A-"},
            [f'metadata.generateName: Invalid value: "A-": {SUBDOMAIN}'],
        ),
        ("ConfigMap", {"name": "a", "namespace": ""}, ["metadata.namespace: Required value"]),
        ("ConfigMap", {"name": "a", "namespace": "N"}, [f'metadata.namespace: Invalid value: "N": {LABEL}']),
        (
            "ConfigMap",
            {"name": "a", "labels": {"a.b/c": "v", "-x": "y", "z": "-", "/q": "", "A/q": ""}},
            [
                f'metadata.labels: Invalid value: "-x": name part {KEY}',
                f'metadata.labels: Invalid value: "-": {VALUE}',
                'metadata.labels: Invalid value: "/q": prefix part must be non-empty',
                f'metadata.labels: Invalid value: "A/q": prefix part {SUBDOMAIN}',
            ],
        ),
        (
            "ConfigMap",
            {"name": "a", "labels": {"a/b/c": ""}},
            [
                (
                    f'metadata.labels: Invalid value: "a/b/c": a qualified name {KEY} '
                    "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
                )
            ],
        ),
        (
            "ConfigMap",
            {"name": "a", "labels": {"k": "v" * 64}},
            [f'metadata.labels: Invalid value: "{"v" * 64}": must be no more than 63 characters'],
        ),
        (
            "ConfigMap",
            {"name": "a", "labels": {"k" * 64: "v"}},
            [f'metadata.labels: Invalid value: "{"k" * 64}": name part must be no more than 63 characters'],
        ),
        (
            "ConfigMap",
            {"name": "a", "labels": {"k": 1}},
            [
                'metadata.labels.k: Invalid value: "integer": metadata.labels.k in body must be of type string: "integer"'
            ],
        ),
        ("ConfigMap", {"name": "a", "annotations": {"Any.Case/Key": "any value at all"}}, []),
        (
            "ConfigMap",
            {"name": "a", "annotations": {"a b": ""}},
            [f'metadata.annotations: Invalid value: "a b": name part {KEY}'],
        ),
        ("ConfigMap", {"name": "a", "annotations": {"k": "v" * (256 * 1024 - 1)}}, []),
        (
            "ConfigMap",
            {"name": "a", "annotations": {"k": "v" * (256 * 1024)}},
            ["metadata.annotations: Too long: may not be more than 262144 bytes"],
        ),
        (
            "ConfigMap",
            {"name": "a", "generation": -1},
            ["metadata.generation: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            "ConfigMap",
            {"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]},
            ['metadata.ownerReferences.uid: Invalid value: "": must not be empty'],
        ),
        (
            "ConfigMap",
            {
                "name": "a",
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Event", "name": "p", "uid": "1"},
                ],
            },
            [
                (
                    'metadata.ownerReferences: Invalid value: {"apiVersion":"v1","kind":"Event","name":"p","uid":"1"}: '
                    "/v1, Kind=Event is disallowed from being an owner"
                )
            ],
        ),
        ("ConfigMap", {"name": "a", "finalizers": ["example.io/done"]}, []),
        (
            "ConfigMap",
            {"name": "a", "finalizers": ["a b"]},
            [f'metadata.finalizers: Invalid value: "a b": name part {KEY}'],
        ),
        (
            "ConfigMap",
            {"name": "a", "finalizers": ["orphan", "foregroundDeletion"]},
            [
                (
                    'metadata.finalizers: Invalid value: ["orphan","foregroundDeletion"]: '
                    "finalizer orphan and foregroundDeletion cannot be both set"
                )
            ],
        ),
        ("ConfigMap", "text", ['metadata: Invalid value: "string": metadata in body must be of type object: "string"']),
    ],
)
def test_metadata(kind, metadata, expected):
    """Every object's metadata is held to Kubernetes' rules, in its words."""
    if kind == "ConfigMap" and isinstance(metadata, dict):
        metadata = {"namespace": "n", **metadata}
    assert expected == [str(cause) for cause in validate(BY_KIND[kind], {"metadata": metadata})]


def test_only_one_owner_controls():
    owners = [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": name, "controller": True} for name in "ab"]
    (cause,) = validate(BY_KIND["ConfigMap"], {"metadata": {"name": "a", "namespace": "n", "ownerReferences": owners}})
    assert cause.message.endswith(
        'Only one reference can have Controller set to true. Found "true" in references for Pod/a and Pod/b'
    )


def make_service(*ports, **spec):
    return {"spec": {"ports": list(ports), **spec}}


POD_SPEC = {"containers": [{"name": "c", "image": "i"}]}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": POD_SPEC}


@pytest.mark.parametrize(
    ("kind", "obj", "expected"),
    [
        ("Service", make_service({"port": 80}), []),
        ("Service", make_service(), ["spec.ports: Required value"]),
        ("Service", make_service(clusterIP="None"), []),
        ("Service", make_service(type="ExternalName"), ["spec.externalName: Required value"]),
        (
            "Service",
            make_service({"port": 80}, type="Loud"),
            [
                (
                    'spec.type: Unsupported value: "Loud": supported values: '
                    '"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"'
                )
            ],
        ),
        (
            "Service",
            make_service({"port": 0, "targetPort": 1}),
            ["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"],
        ),
        (
            "Service",
            make_service({"port": 80, "targetPort": 70000}),
            ["spec.ports[0].targetPort: Invalid value: 70000: must be between 1 and 65535, inclusive"],
        ),
        (
            "Service",
            make_service({"port": 80, "targetPort": "80"}),
            ['spec.ports[0].targetPort: Invalid value: "80": must contain at least one letter (a-z)'],
        ),
        (
            "Service",
            make_service({"port": 80, "protocol": "HTTP"}),
            ['spec.ports[0].protocol: Unsupported value: "HTTP": supported values: "SCTP", "TCP", "UDP"'],
        ),
        (
            "Service",
            make_service({"port": 80}, {"port": 81, "name": "a"}),
            ["spec.ports[0].name: Required value"],
        ),
        (
            "Service",
            make_service({"port": 80, "name": "a"}, {"port": 80, "name": "a"}),
            [
                'spec.ports[1].name: Duplicate value: "a"',
                'spec.ports[1]: Duplicate value: {"port":80,"protocol":"TCP"}',
            ],
        ),
        (
            "Service",
            make_service({"port": 80}, sessionAffinity="Sticky"),
            ['spec.sessionAffinity: Unsupported value: "Sticky": supported values: "ClientIP", "None"'],
        ),
        (
            "Service",
            make_service({"port": 80}, clusterIP="here"),
            [
                'spec.clusterIPs[0]: Invalid value: "here": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'
            ],
        ),
        (
            "Service",
            make_service({"port": "80"}),
            [
                (
                    'spec.ports[0].port: Invalid value: "string": '
                    'spec.ports[0].port in body must be of type integer: "string"'
                )
            ],
        ),
        ("Secret", {"data": {"a": "YQ=="}}, []),
        ("Secret", {"data": {"a": "%"}}, ['data.a: Invalid value: "string": data.a in body must be of type byte']),
        (
            "Secret",
            {"type": "kubernetes.io/tls", "data": {"tls.crt": ""}},
            ["data[tls.key]: Required value"],
        ),
        (
            "Secret",
            {"stringData": {"a": 1}},
            ['stringData.a: Invalid value: "integer": stringData.a in body must be of type string: "integer"'],
        ),
        ("ConfigMap", {"data": {"..": ""}}, ["""data[..]: Invalid value: "..": must not be '..'"""]),
        (
            "ConfigMap",
            {"data": {"a": ""}, "binaryData": {"a": ""}},
            ['data[a]: Invalid value: "a": duplicate of key present in binaryData'],
        ),
        ("ConfigMap", {"data": {"a": "x" * 1048577}}, [": Too long: may not be more than 1048576 bytes"]),
        ("Pod", {"spec": POD_SPEC}, []),
        (
            "Pod",
            {
                "spec": {
                    "containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": 0.5, "memory": "1Mi"}}}]
                }
            },
            [],
        ),
        ("Pod", {}, ["spec.containers: Required value"]),
        (
            "Pod",
            {"spec": {"containers": [{"name": "A"}, {"image": "x", "ports": [{}]}], "restartPolicy": "Maybe"}},
            [
                f'spec.containers[0].name: Invalid value: "A": {LABEL}',
                "spec.containers[0].image: Required value",
                "spec.containers[1].name: Required value",
                "spec.containers[1].ports[0].containerPort: Invalid value: 0: must be between 1 and 65535, inclusive",
                'spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never"',
            ],
        ),
        ("Deployment", {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}}, []),
        ("Deployment", {"spec": {"template": TEMPLATE}}, ["spec.selector: Required value"]),
        (
            "Deployment",
            {"spec": {"replicas": -1, "selector": {"matchLabels": {"a": "c"}}, "template": TEMPLATE}},
            [
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                (
                    'spec.template.metadata.labels: Invalid value: {"a":"b"}: '
                    "`selector` does not match template `labels`"
                ),
            ],
        ),
        (
            "EndpointSlice",
            {"addressType": "IPv4", "endpoints": [{"addresses": ["127.1.2.3"]}], "ports": [{"port": 80}]},
            [],
        ),
        ("EndpointSlice", {}, ["addressType: Required value"]),
        (
            "EndpointSlice",
            {"addressType": "IPv4", "endpoints": [{"addresses": ["::1"]}, {"addresses": []}]},
            [
                'endpoints[0].addresses[0]: Invalid value: "::1": must be a valid IPv4 address',
                "endpoints[1].addresses: Required value: must contain at least 1 address",
            ],
        ),
        (
            "Lease",
            {"spec": {"leaseDurationSeconds": 0}},
            ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
        ),
        ("Event", {"involvedObject": {"namespace": "n"}}, []),
        (
            "Event",
            {"involvedObject": {"namespace": "other"}},
            ['involvedObject.namespace: Invalid value: "other": does not match event.namespace'],
        ),
    ],
)
def test_the_rules_of_kubernetes_own_kinds(kind, obj, expected):
    """After defaults, what people get wrong is told as on any cluster."""
    whole = apply_defaults(BY_KIND[kind], {"metadata": {"name": "x", "namespace": "n"}, **obj})
    assert expected == [str(cause) for cause in validate(BY_KIND[kind], whole)]


@pytest.mark.parametrize(
    ("kind", "old", "new", "expected"),
    [
        ("Secret", {"type": "a"}, {"type": "b"}, ['type: Invalid value: "b": field is immutable']),
        (
            "ConfigMap",
            {"immutable": True, "data": {"a": "1"}},
            {"data": {"a": "2"}},
            [
                "immutable: Forbidden: field is immutable when `immutable` is set",
                "data: Forbidden: field is immutable when `immutable` is set",
            ],
        ),
        ("ConfigMap", {"data": {"a": "1"}}, {"data": {"a": "2"}}, []),
    ],
)
def test_some_changes_are_refused(kind, old, new, expected):
    head = {"kind": kind, "metadata": {"name": "x", "namespace": "n"}}
    assert expected == [str(cause) for cause in validate_update(BY_KIND[kind], {**head, **new}, {**head, **old})]


def test_a_custom_resource_is_held_to_its_schema():
    """Required fields count for custom resources, at the root too."""
    policy = make_policy(phase="mid", headers=[{}])
    assert [str(cause) for cause in validate(POLICY, policy)] == [
        'spec.phase: Unsupported value: "mid": supported values: "pre", "post"',
        "spec.headers[0].name: Required value",
    ]
    del policy["spec"]
    assert [str(cause) for cause in validate(POLICY, policy)] == ["spec: Required value"]
    assert validate(POLICY, make_policy(phase="pre")) == ()


def test_causes_are_put_together_as_kubernetes_does():
    """One cause stands alone, several are in brackets, equal ones are one."""
    one, two = required("a"), invalid("b", {"z": 1, "a": None}, "no")
    assert aggregate_message((one, one)) == "a: Required value"
    assert aggregate_message((one, two)) == '[a: Required value, b: Invalid value: {"a":null,"z":1}: no]'
    assert Cause(field="a", reason=CauseReason.REQUIRED, message="Required value") == one
    assert one.as_json() == {"reason": "FieldValueRequired", "message": "Required value", "field": "a"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def paths(schema, depth=0):
    """Strategy for objects that have a schema's field names with anything below them."""
    properties = dict(schema.get("properties") or {})
    if not properties or depth > 3:
        return JSON
    children = {key: paths(child.get("items") or child, depth + 1) for key, child in properties.items()}
    some = st.lists(st.sampled_from(sorted(children)), max_size=4, unique=True)
    mapping = some.flatmap(lambda keys: st.fixed_dictionaries({key: children[key] for key in keys}))
    return JSON | mapping | st.lists(mapping, max_size=2)


@pytest.mark.parametrize("resource", [POLICY, *BUILTIN_RESOURCES], ids=lambda found: found.kind)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_no_garbage_raises(resource, data):
    """Any JSON in any field of any kind is defaulted, pruned and validated without an exception."""
    keys = st.lists(st.sampled_from(sorted(resource.schema["properties"])), max_size=4, unique=True)
    obj = {key: data.draw(paths(resource.schema["properties"][key]), label=key) for key in data.draw(keys)}
    whole = apply_defaults(resource, prune(resource, obj))
    for cause in validate(resource, whole):
        assert cause.message
    validate(resource, obj)
    validate_update(resource, whole, obj)
    unknown_fields(resource, obj)
    assert unknown_fields(resource, prune(resource, obj)) == ()


@given(value=JSON)
def test_what_is_no_object_is_refused(value):
    """A value of another type is a cause, not an exception."""
    if not isinstance(value, dict):
        assert [cause.reason for cause in validate(POLICY, value)] == [CauseReason.TYPE_INVALID]
