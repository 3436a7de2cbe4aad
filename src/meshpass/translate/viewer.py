"""Viewer: the proxies of one cluster, and how they reach the pods of others."""

from __future__ import annotations

from dataclasses import dataclass

from meshpass.ir import Endpoint
from meshpass.translate.eastwest import EastWest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Viewer:
    """The proxies of one cluster."""

    cluster: str
    east_west: EastWest

    def reach(self, workspace: str | None, cluster: str, pods: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
        """Where requests for pods of a cluster go, behind a destination of a workspace.

        To those of another cluster they go by its east-west gateways, where it has any: as long as there is a pod that ends
        the TLS of the mesh, since a gateway passes nothing else on.
        """
        gateways = self.east_west.addresses.get((workspace or "", cluster))
        if cluster == self.cluster or gateways is None:
            return pods
        return gateways if any(pod.mutual_tls for pod in pods) else ()


def make_viewer(cluster: str, east_west: EastWest) -> Viewer:
    """To be called through the memo: one object for all proxies of the cluster."""
    return Viewer(cluster=cluster, east_west=east_west)
