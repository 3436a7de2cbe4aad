"""Domains of clusters."""

from __future__ import annotations

import pytest

from meshpass.api.admin import KubernetesCluster, KubernetesClusterSpec
from meshpass.api.metadata import ObjectMeta
from meshpass.api.objectset import ObjectKey
from meshpass.translate.clusterdomain import find_domains, judge_domain


def registered(domain: str, name: str = "one", cluster: str = "mgmt") -> dict[ObjectKey, KubernetesCluster]:
    key = ObjectKey("KubernetesCluster", cluster, "gloo-mesh", name)
    return {key: KubernetesCluster(metadata=ObjectMeta(name=name), spec=KubernetesClusterSpec(cluster_domain=domain))}


@pytest.mark.parametrize(
    ("domain", "found"),
    [("", {}), ("cluster.local", {}), ("Mesh.Example.", {"one": "mesh.example"}), ("*.x", {}), ("a_b", {}), ("1", {})],
)
def test_a_domain_in_its_one_form(domain: str, found: dict[str, str]) -> None:
    """The default is none to be told of; nor is one that is wrong."""
    assert find_domains(registered(domain), "mgmt") == found


def test_the_management_cluster_alone_says_what_domains_are() -> None:
    """A cluster does not name others' Services."""
    assert find_domains(registered("mesh.example", cluster="one"), "mgmt") == {}


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        ("", ""),
        ("mesh.example", ""),
        ("*.x", "spec.clusterDomain: a domain has no wildcard; cluster.local is used"),
        ("a_b", "spec.clusterDomain: 'a_b' is no part of a DNS name; cluster.local is used"),
    ],
)
def test_what_is_wrong_with_a_domain_is_said(domain: str, words: str) -> None:
    """And what is used instead."""
    ((key, cluster),) = registered(domain).items()
    assert "; ".join(map(str, judge_domain(key, cluster))) == words
