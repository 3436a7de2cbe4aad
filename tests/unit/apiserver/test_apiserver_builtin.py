"""The built-in kinds and their schemas."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from meshpass.apiserver.builtin import BUILTIN_RESOURCES
from meshpass.apiserver.defaulting import apply_defaults
from meshpass.apiserver.modelschema import LazySchema, plain
from meshpass.apiserver.resource import Resource

BY_KIND = {resource.kind: resource for resource in BUILTIN_RESOURCES}


NAMES = {
    "ConfigMap": ("v1", "configmaps", "configmap", ("cm",), ()),
    "Event": ("v1", "events", "event", ("ev",), ()),
    "Namespace": ("v1", "namespaces", "namespace", ("ns",), ()),
    "Pod": ("v1", "pods", "pod", ("po",), ("all",)),
    "Secret": ("v1", "secrets", "secret", (), ()),
    "ServiceAccount": ("v1", "serviceaccounts", "serviceaccount", ("sa",), ()),
    "Service": ("v1", "services", "service", ("svc",), ("all",)),
    "CustomResourceDefinition": (
        "apiextensions.k8s.io/v1",
        "customresourcedefinitions",
        "customresourcedefinition",
        ("crd", "crds"),
        ("api-extensions",),
    ),
    "Deployment": ("apps/v1", "deployments", "deployment", ("deploy",), ("all",)),
    "Lease": ("coordination.k8s.io/v1", "leases", "lease", (), ()),
    "EndpointSlice": ("discovery.k8s.io/v1", "endpointslices", "endpointslice", (), ()),
}


def test_each_kind_goes_by_its_kubernetes_names():
    """kubectl finds every kind under the names that it has in any cluster, and there is no other kind."""
    actual = {
        found.kind: (found.group_version, found.plural, found.singular, found.short_names, found.categories)
        for found in BUILTIN_RESOURCES
    }
    assert actual == NAMES
    assert all(found.builtin and found.list_kind == f"{found.kind}List" for found in BUILTIN_RESOURCES)


def test_scopes_and_status_subresources_are_kubernetes_own():
    """Two kinds are not in namespaces, five have a status of their own."""
    assert {found.kind for found in BUILTIN_RESOURCES if not found.namespaced} == {
        "CustomResourceDefinition",
        "Namespace",
    }
    assert {found.kind for found in BUILTIN_RESOURCES if found.status_subresource} == {
        "CustomResourceDefinition",
        "Deployment",
        "Namespace",
        "Pod",
        "Service",
    }


def test_importing_the_kinds_imports_no_model():
    """A server that is asked for no schema never pays for the import of lightkube's models."""
    code = "import sys, meshpass.apiserver.builtin; sys.exit(any('lightkube' in name for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("resource", BUILTIN_RESOURCES, ids=lambda found: found.kind)
def test_every_schema_is_json_with_a_type_and_a_description_for_the_object(resource):
    """``plain`` makes JSON of any schema, and every object says what it is."""
    schema = json.loads(json.dumps(plain(resource.schema)))
    assert schema["type"] == "object"
    assert schema["description"]
    assert {"apiVersion", "kind", "metadata"} <= set(schema["properties"])


@pytest.mark.parametrize(
    ("kind", "path", "expected"),
    [
        ("Service", "spec.ports.items.targetPort", {"x-kubernetes-int-or-string": True}),
        (
            "Service",
            "spec.selector",
            {"type": "object", "additionalProperties": {"type": "string"}, "x-kubernetes-map-type": "atomic"},
        ),
        ("Secret", "data", {"type": "object", "additionalProperties": {"type": "string", "format": "byte"}}),
        (
            "Pod",
            "spec.containers.items.resources.limits",
            {"type": "object", "additionalProperties": {"oneOf": [{"type": "string"}, {"type": "number"}]}},
        ),
        ("Pod", "status.startTime", {"type": "string", "format": "date-time"}),
        ("Pod", "metadata.generation", {"type": "integer", "format": "int64"}),
        ("Lease", "spec.leaseDurationSeconds", {"type": "integer"}),
        (
            "CustomResourceDefinition",
            "spec.versions.items.schema.openAPIV3Schema.not",
            {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        ),
    ],
)
def test_types_that_the_models_leave_open_are_filled_in(kind, path, expected):
    """Maps know their values, quantities and ports take numbers, and a schema within itself is cut."""
    node = plain(BY_KIND[kind].schema)
    for part in path.split("."):
        node = node["items"] if part == "items" else node["properties"][part]
    node.pop("description", None)
    assert expected == node


def test_a_field_is_described_by_its_own_text():
    """Where field and type both have one, the field's is the more telling; the type's stands in for a missing one."""
    spec = BY_KIND["Service"].schema["properties"]["spec"]
    assert spec["description"].startswith("Spec defines the behavior of a service.")
    assert spec["properties"]["ports"]["items"]["description"].startswith("ServicePort contains information")


def test_lists_that_merge_name_their_keys():
    """Strategic merge patch and server-side apply find the keys of a list in its schema."""
    ports = BY_KIND["Pod"].schema["properties"]["spec"]["properties"]["containers"]["items"]["properties"]["ports"]
    assert ports["x-kubernetes-patch-merge-key"] == "containerPort"
    assert ports["x-kubernetes-list-map-keys"] == ["containerPort", "protocol"]


def test_a_lazy_schema_is_built_once_and_only_when_read():
    """Reading builds; reading again does not."""
    builds = []

    def build():
        builds.append(1)
        return {"type": "object"}

    schema = LazySchema(build)
    assert builds == []
    assert "unread" in repr(schema)
    assert (schema["type"], dict(schema), len(schema)) == ("object", {"type": "object"}, 1)
    assert builds == [1]


def test_plain_shares_nothing():
    """A document may be changed without changing the schema that it was made of."""
    schema = {"a": ({"b": 1},)}
    made = plain(schema)
    made["a"][0]["b"] = 2
    assert schema == {"a": ({"b": 1},)}


@pytest.mark.parametrize(
    ("kind", "obj", "expected"),
    [
        (
            "Namespace",
            {"metadata": {"name": "httpbin", "labels": {"kubernetes.io/metadata.name": "lie"}}},
            {
                "metadata": {"name": "httpbin", "labels": {"kubernetes.io/metadata.name": "httpbin"}},
                "spec": {"finalizers": ["kubernetes"]},
                "status": {"phase": "Active"},
            },
        ),
        (
            "Service",
            {"spec": {"ports": [{"port": 8000}]}},
            {
                "spec": {
                    "ports": [{"port": 8000, "protocol": "TCP", "targetPort": 8000}],
                    "type": "ClusterIP",
                    "sessionAffinity": "None",
                    "internalTrafficPolicy": "Cluster",
                }
            },
        ),
        (
            "Secret",
            {"data": {"a": "MQ==", "b": "Mg=="}, "stringData": {"b": "two"}},
            {"type": "Opaque", "data": {"a": "MQ==", "b": "dHdv"}},
        ),
        ("ConfigMap", {"data": {"a": "b"}}, {"data": {"a": "b"}}),
        (
            "CustomResourceDefinition",
            {"spec": {"names": {"kind": "Widget"}}},
            {
                "spec": {
                    "names": {"kind": "Widget", "singular": "widget", "listKind": "WidgetList"},
                    "conversion": {"strategy": "None"},
                }
            },
        ),
        (
            "EndpointSlice",
            {"ports": [{"port": 80}]},
            {"ports": [{"port": 80, "name": "", "protocol": "TCP"}]},
        ),
        ("Service", {"spec": "garbage"}, {"spec": "garbage"}),
    ],
)
def test_kubernetes_own_kinds_get_kubernetes_defaults(kind, obj, expected):
    """What a client leaves out is there after storing, as on any cluster, and the argument is unchanged."""
    before = json.dumps(obj)
    assert expected == apply_defaults(BY_KIND[kind], obj)
    assert json.dumps(obj) == before


@pytest.mark.parametrize(
    ("image", "policy"),
    [("a", "Always"), ("a:latest", "Always"), ("a:1", "IfNotPresent"), ("host:5000/a", "Always"), (None, "Always")],
)
def test_the_pull_policy_follows_the_tag(image, policy):
    """An image without a tag, or with ``latest``, is pulled always."""
    pod = apply_defaults(BY_KIND["Pod"], {"spec": {"containers": [{"image": image, "ports": [{"containerPort": 1}]}]}})
    container = pod["spec"]["containers"][0]
    assert (policy, "TCP") == (container["imagePullPolicy"], container["ports"][0]["protocol"])


def test_schema_defaults_fill_gaps_and_replace_forbidden_nulls():
    """A default applies where nothing stands, at any depth, and where null stands but is not allowed."""
    kind = Resource(
        group="g.io",
        version="v1",
        kind="K",
        plural="ks",
        singular="k",
        namespaced=True,
        schema={
            "type": "object",
            "properties": {
                "metadata": {"type": "object", "default": {"never": True}},
                "spec": {
                    "type": "object",
                    "default": {},
                    "properties": {
                        "mode": {"type": "string", "default": "on"},
                        "note": {"type": "string", "nullable": True, "default": "x"},
                        "list": {
                            "type": "array",
                            "items": {"type": "object", "properties": {"n": {"type": "integer", "default": 1}}},
                        },
                        "map": {
                            "type": "object",
                            "additionalProperties": {"type": "object", "properties": {"m": {"default": 2}}},
                        },
                    },
                },
            },
        },
    )
    assert apply_defaults(kind, {}) == {"spec": {"mode": "on", "note": "x"}}
    assert apply_defaults(kind, {"spec": {"mode": None, "note": None, "list": [{}, {"n": 5}], "map": {"k": {}}}}) == {
        "spec": {"mode": "on", "note": None, "list": [{"n": 1}, {"n": 5}], "map": {"k": {"m": 2}}}
    }
