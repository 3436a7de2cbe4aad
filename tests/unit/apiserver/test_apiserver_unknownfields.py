"""Fields that no schema knows: told by strict decoding, dropped by pruning; and fields that are there twice."""

from __future__ import annotations

import json

import pytest
from tests.support.policy_resource import POLICY, make_policy

from meshpass.apiserver.builtin import BUILTIN_RESOURCES
from meshpass.apiserver.pruning import prune
from meshpass.apiserver.unknownfields import closest_name, duplicate_fields, unknown_fields

BY_KIND = {resource.kind: resource for resource in BUILTIN_RESOURCES}


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (make_policy(foo=1), ['unknown field "spec.foo"']),
        (make_policy(queryParameters=[]), ['unknown field "spec.queryParameters", did you mean "queryParams"?']),
        (make_policy(Phase="pre"), ['unknown field "spec.Phase", did you mean "phase"?']),
        (
            make_policy(headers=[{"name": "a"}, {"nam": 1}]),
            ['unknown field "spec.headers[1].nam", did you mean "name"?'],
        ),
        (make_policy(free={"x": {"y": 1}}, any={"z": [{}]}), []),
        (make_policy(closed={"x": 1}), ['unknown field "spec.closed.x"']),
        (make_policy(map={"k": {"a": "", "b": ""}}), ['unknown field "spec.map.k.b"']),
        (
            make_policy(template={"apiVersion": "v1", "kind": "Pod", "metadata": {"labls": {}}, "x": 1}),
            ['unknown field "spec.template.metadata.labls", did you mean "labels"?', 'unknown field "spec.template.x"'],
        ),
        ({"metadata": {"name": "a", "clusterName": "b"}}, ['unknown field "metadata.clusterName"']),
        ({"sepc": {}}, ['unknown field "sepc", did you mean "spec"?']),
        ("text", []),
    ],
)
def test_unknown_fields_are_named_with_a_hint(obj, expected):
    """Strict decoding's words, and the name that was probably meant."""
    assert expected == list(unknown_fields(POLICY, obj))


@pytest.mark.parametrize("resource", [POLICY, BY_KIND["Service"]], ids=["custom", "builtin"])
def test_pruning_drops_exactly_the_unknown(resource):
    """Known fields stay, unknown ones go, and the argument is unchanged."""
    obj = {"metadata": {"name": "a", "x": 1, "creationTimestamp": None}, "spec": {"y": 1}, "z": 1}
    before = json.dumps(obj)
    assert prune(resource, obj) == {"metadata": {"name": "a"}, "spec": {}}
    assert json.dumps(obj) == before


def test_nulls_are_nothing_in_kubernetes_own_kinds_only():
    """Kubernetes decodes its own kinds into structs; a custom resource's null is a value."""
    assert prune(BY_KIND["Service"], {"spec": {"selector": None, "type": "ClusterIP"}}) == {
        "spec": {"type": "ClusterIP"}
    }
    assert prune(POLICY, {"spec": {"phase": None}}) == {"spec": {"phase": None}}


def test_preserved_fields_survive_pruning():
    policy = make_policy(free={"x": {"y": None}}, any={"z": 1})
    assert prune(POLICY, policy) == policy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"spec": {"x": 1, "x": 2}}', ['duplicate field "spec.x"']),
        ('[{"a": 1, "a": 2}]', ['duplicate field "[0].a"']),
        ('{"a": [{"b": 1}, {"b": 1, "b": 1, "b": 1}], "a": 1}', ['duplicate field "a"', 'duplicate field "a[1].b"']),
        (
            "spec:\n  x: 1\n  y:\n  - z: 1\n    z: 2\n  x: 2\n",
            ['duplicate field "spec.x"', 'duplicate field "spec.y[0].z"'],
        ),
        ("a: 1\nb: 1", []),
        ("", []),
        ("{", []),
        ("a: [", []),
        ("? [a]\n: 1\n", []),
    ],
)
def test_duplicate_fields(text, expected):
    """A field that is there twice is found in JSON and in YAML; broken text is left to its reader."""
    assert expected == list(duplicate_fields(text))


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("keepTokn", ("keepToken", "keys"), "keepToken"),
        ("zebra", ("keepToken", "keys"), None),
        ("KEYS", ("keys", "key"), "keys"),
        ("a", (), None),
    ],
)
def test_the_closest_name(name, known, expected):
    assert expected == closest_name(name, known)
