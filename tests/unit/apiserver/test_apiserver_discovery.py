"""The bodies by which clients learn what is served."""

from __future__ import annotations

import json
import random

import pytest

from meshpass.apiserver.builtin import BUILTIN_RESOURCES
from meshpass.apiserver.discovery import (
    aggregated,
    core_versions,
    legacy_group,
    legacy_groups,
    legacy_resources,
    version_priority,
)
from meshpass.apiserver.resource import Resource


def make_resource(version="v2", **changes):
    fields = {
        "group": "policy.example.io",
        "version": version,
        "kind": "Policy",
        "plural": "policies",
        "singular": "policy",
        "namespaced": True,
        "short_names": ("pol",),
        "categories": ("mesh",),
        "schema": {},
        "status_subresource": True,
    }
    return Resource(**(fields | changes))


SERVED = (*BUILTIN_RESOURCES, make_resource("v1beta1"), make_resource())
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


def test_versions_sort_as_kubernetes_prefers_them():
    """Stable before beta before alpha, then the higher number; anything else comes last."""
    ordered = ["other", "v1alpha1", "v2alpha1", "v1beta1", "v1beta2", "v1", "v2", "v10"]
    shuffled = random.Random(7).sample(ordered, len(ordered))
    assert sorted(shuffled, key=version_priority) == ordered


def test_the_core_group_has_one_version():
    assert core_versions() == {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def test_groups_name_their_preferred_version():
    """/apis has every named group once, its best version first."""
    body = legacy_groups(SERVED)
    assert (body["kind"], body["apiVersion"]) == ("APIGroupList", "v1")
    assert [group["name"] for group in body["groups"]] == [
        "apiextensions.k8s.io",
        "apps",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "policy.example.io",
    ]
    assert body["groups"][-1] == {
        "name": "policy.example.io",
        "versions": [
            {"groupVersion": "policy.example.io/v2", "version": "v2"},
            {"groupVersion": "policy.example.io/v1beta1", "version": "v1beta1"},
        ],
        "preferredVersion": {"groupVersion": "policy.example.io/v2", "version": "v2"},
    }


def test_one_group_stands_alone():
    """/apis/<group> is that group as an APIGroup; an unknown group has no body."""
    body = legacy_group(SERVED, "apps")
    assert body == {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": "apps",
        "versions": [{"groupVersion": "apps/v1", "version": "v1"}],
        "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"},
    }
    assert legacy_group(SERVED, "none.example.io") is None


def test_resources_of_a_version():
    """Names, scope, verbs and the status subresource; the hash is 8 bytes in base64."""
    body = legacy_resources(SERVED, "policy.example.io", "v2")
    assert (body["kind"], body["groupVersion"]) == ("APIResourceList", "policy.example.io/v2")
    policies, status = body["resources"]
    assert len(policies.pop("storageVersionHash")) == 12
    assert policies == {
        "name": "policies",
        "singularName": "policy",
        "namespaced": True,
        "kind": "Policy",
        "verbs": VERBS,
        "shortNames": ["pol"],
        "categories": ["mesh"],
    }
    assert status == {
        "name": "policies/status",
        "singularName": "",
        "namespaced": True,
        "kind": "Policy",
        "verbs": ["get", "patch", "update"],
    }
    assert legacy_resources(SERVED, "policy.example.io", "v3") is None


def test_the_core_resources_are_in_alphabetical_order():
    body = legacy_resources(SERVED, "", "v1")
    assert [entry["name"] for entry in body["resources"]] == [
        "configmaps",
        "events",
        "namespaces",
        "namespaces/status",
        "pods",
        "pods/exec",
        "pods/log",
        "pods/status",
        "secrets",
        "serviceaccounts",
        "services",
        "services/status",
    ]


@pytest.mark.parametrize("version", ["v2", "v2beta1"])
def test_aggregated_discovery_holds_everything_at_once(version):
    """One document per root, of the asked version, with subresources inside their resources."""
    body = aggregated(SERVED, core=False, api_version=f"apidiscovery.k8s.io/{version}")
    assert (body["kind"], body["apiVersion"]) == ("APIGroupDiscoveryList", f"apidiscovery.k8s.io/{version}")
    group = body["items"][-1]
    assert group["metadata"]["name"] == "policy.example.io"
    assert [(entry["version"], entry["freshness"]) for entry in group["versions"]] == [
        ("v2", "Current"),
        ("v1beta1", "Current"),
    ]
    kind = {"group": "policy.example.io", "version": "v2", "kind": "Policy"}
    assert group["versions"][0]["resources"] == [
        {
            "resource": "policies",
            "responseKind": kind,
            "scope": "Namespaced",
            "singularResource": "policy",
            "verbs": VERBS,
            "shortNames": ["pol"],
            "categories": ["mesh"],
            "subresources": [{"subresource": "status", "responseKind": kind, "verbs": ["get", "patch", "update"]}],
        }
    ]


def test_the_core_group_is_aggregated_apart():
    """/api has the core group alone, without a name; /apis has it not."""
    (core,) = aggregated(SERVED, core=True)["items"]
    assert "name" not in core["metadata"]
    resources = {entry["resource"]: entry for entry in core["versions"][0]["resources"]}
    assert resources["namespaces"]["scope"] == "Cluster"
    assert resources["services"]["shortNames"] == ["svc"]
    assert all("name" in group["metadata"] for group in aggregated(SERVED, core=False)["items"])


def test_order_of_resources_changes_no_byte():
    """The bodies can be compared and hashed: equal content is equal text."""
    shuffled = random.Random(3).sample(SERVED, len(SERVED))
    for build in (
        legacy_groups,
        lambda found: aggregated(found, core=False),
        lambda found: aggregated(found, core=True),
    ):
        assert json.dumps(build(SERVED)) == json.dumps(build(shuffled))
