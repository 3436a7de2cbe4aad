"""The OpenAPI documents, as kubectl reads them."""

from __future__ import annotations

import json
import random

import pytest

from meshpass.apiserver.builtin import BUILTIN_RESOURCES
from meshpass.apiserver.crd import resources_from_crd
from meshpass.apiserver.openapi import list_schema_name, schema_name, v2_document, v3_document, v3_hash, v3_index

SCHEMA = {
    "type": "object",
    "description": "Puts a policy on routes.",
    "properties": {
        "spec": {
            "type": "object",
            "description": "What is wanted.",
            "properties": {
                "phase": {"type": "string", "description": "When it acts."},
                "not": {"type": "string", "description": "A field with a keyword's name."},
            },
            "oneOf": [{"required": ["phase"]}],
        }
    },
}


def make_policies(schema, *, scope="Namespaced", version="v1"):
    return resources_from_crd(
        {
            "spec": {
                "group": "policy.example.io",
                "scope": scope,
                "names": {"plural": "policies", "singular": "policy", "kind": "Policy"},
                "versions": [
                    {
                        "name": version,
                        "served": True,
                        "storage": True,
                        "subresources": {"status": {}},
                        "schema": {"openAPIV3Schema": schema},
                    }
                ],
            }
        }
    )


POLICIES = make_policies(SCHEMA)
SERVED = (*BUILTIN_RESOURCES, *POLICIES)
GVK = {"group": "policy.example.io", "version": "v1", "kind": "Policy"}
NAME = "io.example.policy.v1.Policy"


def references(value):
    """Every ``$ref`` anywhere in a document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("Pod", "io.k8s.api.core.v1.Pod"),
        ("Deployment", "io.k8s.api.apps.v1.Deployment"),
        (
            "CustomResourceDefinition",
            "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
        ),
        ("Policy", NAME),
    ],
)
def test_components_have_kubernetes_names(kind, expected):
    (found,) = (resource for resource in SERVED if resource.kind == kind)
    assert (expected, f"{expected}List") == (schema_name(found), list_schema_name(found))


def test_the_index_has_a_hashed_url_for_every_version():
    """A client that has the document of a hash need not ask again."""
    index = v3_index(SERVED)
    assert list(index["paths"]) == [
        "api/v1",
        "apis/apiextensions.k8s.io/v1",
        "apis/apps/v1",
        "apis/coordination.k8s.io/v1",
        "apis/discovery.k8s.io/v1",
        "apis/policy.example.io/v1",
    ]
    for path, entry in index["paths"].items():
        assert entry["serverRelativeURL"].startswith(f"/openapi/v3/{path}?hash=")


def test_the_hash_follows_the_content():
    """It changes with a description and with the scope, and not with the order or with another group."""
    base = v3_hash(SERVED, "policy.example.io", "v1")
    described = make_policies({**SCHEMA, "description": "Other."})
    assert v3_hash(described, "policy.example.io", "v1") != base
    assert v3_hash(make_policies(SCHEMA, scope="Cluster"), "policy.example.io", "v1") != base
    assert v3_hash(POLICIES, "policy.example.io", "v1") == base
    assert v3_hash(random.Random(1).sample(SERVED, len(SERVED)), "policy.example.io", "v1") == base


@pytest.mark.parametrize(
    ("group", "version"), sorted({(resource.group, resource.version) for resource in SERVED}), ids=str
)
def test_every_document_is_closed_json(group, version):
    """It is JSON, every reference resolves within it, and no two operations share an id."""
    document = json.loads(json.dumps(v3_document(SERVED, group, version)))
    schemas = document["components"]["schemas"]
    assert [name for name in references(document) if name.removeprefix("#/components/schemas/") not in schemas] == []
    operations = [
        operation["operationId"]
        for item in document["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]
    assert len(operations) == len(set(operations)) > 0


def test_numbers_or_texts_are_of_kubernetes_type():
    """``kubectl explain`` names the type; the description of the field stays."""
    ports = v3_document(SERVED, "", "v1")["components"]["schemas"]["io.k8s.api.core.v1.Service"]
    target = ports["properties"]["spec"]["properties"]["ports"]["items"]["properties"]["targetPort"]
    assert target["allOf"] == [{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.util.intstr.IntOrString"}]
    assert target["description"].startswith("Number or name of the port")


def test_what_is_not_served_has_no_document():
    assert v3_document(SERVED, "policy.example.io", "v9") is None


def test_components_say_which_kind_they_are_and_carry_descriptions():
    """``kubectl explain`` finds the kind by its group, version and kind, and prints these texts."""
    schemas = v3_document(SERVED, "policy.example.io", "v1")["components"]["schemas"]
    assert schemas[NAME]["x-kubernetes-group-version-kind"] == [GVK]
    assert schemas[NAME]["description"] == "Puts a policy on routes."
    assert schemas[NAME]["properties"]["spec"]["properties"]["phase"]["description"] == "When it acts."
    assert schemas[f"{NAME}List"]["x-kubernetes-group-version-kind"] == [{**GVK, "kind": "PolicyList"}]
    assert schemas["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"]["properties"]["labels"]["description"]


def test_paths_of_a_namespaced_kind():
    """Every URL has its operations, the status subresource too."""
    paths = v3_document(SERVED, "policy.example.io", "v1")["paths"]
    root = "/apis/policy.example.io/v1"
    item = f"{root}/namespaces/{{namespace}}/policies/{{name}}"
    assert {path: sorted(set(found) - {"parameters"}) for path, found in paths.items()} == {
        f"{root}/policies": ["get"],
        f"{root}/namespaces/{{namespace}}/policies": ["delete", "get", "post"],
        item: ["delete", "get", "patch", "put"],
        f"{item}/status": ["get", "patch", "put"],
    }


def test_paths_of_a_cluster_scoped_kind():
    document = v3_document(make_policies(SCHEMA, scope="Cluster"), "policy.example.io", "v1")
    assert list(document["paths"]) == [
        "/apis/policy.example.io/v1/policies",
        "/apis/policy.example.io/v1/policies/{name}",
        "/apis/policy.example.io/v1/policies/{name}/status",
    ]


def test_writes_name_the_parameters_that_kubectl_looks_for():
    """kubectl turns client-side validation and dry-run off only where these are declared on PATCH."""
    paths = v3_document(SERVED, "policy.example.io", "v1")["paths"]
    patch = paths["/apis/policy.example.io/v1/namespaces/{namespace}/policies/{name}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == GVK
    assert {"dryRun", "fieldManager", "fieldValidation"} <= {found["name"] for found in patch["parameters"]}
    assert "application/strategic-merge-patch+json" not in patch["requestBody"]["content"]
    pods = v3_document(SERVED, "", "v1")["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"]
    assert "application/strategic-merge-patch+json" in pods["requestBody"]["content"]


def test_version_two_has_every_kind_and_no_word_that_it_lacks():
    """Junctors go, a lone reference stays a reference, and a field called ``not`` is no junctor."""
    document = json.loads(json.dumps(v2_document(SERVED)))
    definitions = document["definitions"]
    assert document["swagger"] == "2.0"
    assert {schema_name(resource) for resource in SERVED} <= set(definitions)
    assert [name for name in references(document) if name.removeprefix("#/definitions/") not in definitions] == []
    spec = definitions[NAME]["properties"]["spec"]
    assert sorted(spec["properties"]) == ["not", "phase"]
    assert "oneOf" not in spec
    assert definitions[NAME]["properties"]["metadata"] == {
        "$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    }
