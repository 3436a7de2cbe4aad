"""The permissions of the control plane follow from the kinds that it reads and reports on."""

from __future__ import annotations

import yaml

from meshpass.api.kinds import KINDS
from meshpass.app import WATCHED
from meshpass.kube.rbac import control_plane_manifests, manifests_yaml, role_rules

MANIFESTS = control_plane_manifests(role_rules(WATCHED, KINDS), namespace="gloo-mesh", name="meshpass")


def granted():
    """Every (group, resource, verb) that the role grants."""
    rules = MANIFESTS[1]["rules"]
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_what_is_watched_may_be_watched_and_no_more_may_be_done():
    """Exactly: lists and watches, statuses of our own kinds, Events. No wildcard, and no write to anybody's spec."""
    needed = {(kind.group, kind.plural, verb) for kind in WATCHED for verb in ("list", "watch")}
    needed |= {(kind.group, kind.plural, "get") for kind in KINDS}
    needed |= {(kind.group, f"{kind.plural}/status", "patch") for kind in KINDS}
    needed |= {("", "events", verb) for verb in ("create", "get", "patch")}

    assert granted() == needed
    assert ("", "secrets", "get") not in granted()


def test_a_kind_that_is_read_from_now_on_is_in_the_role():
    """The manifests are made from the kinds, so that none is forgotten."""
    fewer = role_rules([kind for kind in WATCHED if kind.plural != "secrets"], KINDS)

    assert "secrets" not in str(fewer)
    assert "secrets" in str(MANIFESTS)


def test_the_binding_leads_from_the_account_to_the_role():
    """By their names; all three carry the ones that were asked for."""
    account, role, binding = control_plane_manifests((), namespace="elsewhere", name="other")

    assert account["metadata"] == {
        "name": "other",
        "namespace": "elsewhere",
        "labels": {"app.kubernetes.io/name": "meshpass"},
    }
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": role["kind"], "name": "other"}
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "other", "namespace": "elsewhere"}]
    assert role["metadata"]["name"] == "other"


def test_the_yaml_is_the_manifests_without_anchors():
    """kubectl reads anchors; people do not."""
    text = manifests_yaml(MANIFESTS)

    assert list(yaml.safe_load_all(text)) == list(MANIFESTS)
    assert "&id" not in text
