"""Which clusters belong to the mesh: those of which the management cluster has a KubernetesCluster. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from meshpass.api.admin import KubernetesCluster
from meshpass.api.objectset import ObjectKey


def find_registered(clusters: Mapping[ObjectKey, KubernetesCluster], management_cluster: str) -> frozenset[str]:
    """The clusters that may have an agent. The management cluster has none: its objects are read from itself alone."""
    return frozenset(key.name for key in clusters if key.cluster == management_cluster) - {management_cluster}


def find_awaited(clusters: Mapping[ObjectKey, KubernetesCluster], management_cluster: str) -> frozenset[str]:
    """The registered clusters without which nobody is told for the first time that this is everything (``skipWarming``)."""
    skipped = {key.name for key, one in clusters.items() if key.cluster == management_cluster and one.spec.skip_warming}
    return find_registered(clusters, management_cluster) - skipped
