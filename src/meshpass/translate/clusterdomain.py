"""Cluster domains: what the full names of a cluster's Services end in."""

from __future__ import annotations

from collections.abc import Mapping

from meshpass.api.admin import KubernetesCluster
from meshpass.api.objectset import ObjectKey
from meshpass.translate.age import by_age
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.host import host_problem, normalize_host

DEFAULT_DOMAIN = "cluster.local"
"""That of a cluster that says nothing else; Kubernetes' own default."""


def find_domains(registered: Mapping[ObjectKey, KubernetesCluster], management_cluster: str) -> Mapping[str, str]:
    """Cluster → its domain, for those that have another than the default. The oldest registration of a name counts."""
    found: dict[str, str] = {}
    for key, cluster in by_age(registered):
        if key.cluster == management_cluster:
            domain = cluster.spec.cluster_domain
            found.setdefault(key.name, normalize_host(domain) if domain and not _problem(domain) else DEFAULT_DOMAIN)
    return {name: domain for name, domain in found.items() if domain != DEFAULT_DOMAIN}


def judge_domain(key: ObjectKey, cluster: KubernetesCluster) -> tuple[Finding, ...]:
    """What is wrong with the domain that a cluster was given; the default is used instead."""
    domain = cluster.spec.cluster_domain
    problem = _problem(domain) if domain else None
    if problem is None:
        return ()
    return (
        Finding(
            key=key,
            severity=Severity.WARNING,
            reason=Reason.INVALID_HOST,
            path="spec.clusterDomain",
            message=f"{problem}; {DEFAULT_DOMAIN} is used",
        ),
    )


def _problem(domain: str) -> str | None:
    return "a domain has no wildcard" if "*" in domain else host_problem(domain)
