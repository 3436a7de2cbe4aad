"""Memory of the process that runs the API servers and the control plane."""

from __future__ import annotations

from collections.abc import Iterator

from bench.mesh import Mesh
from bench.objects import ISSUERS, RouteShape, issuer_policy
from bench.result import Row, mebibytes

ROUTES = 1000


def measure_memory(mesh: Mesh) -> Iterator[Row]:
    """To be measured on a mesh that nothing was done with before."""
    yield Row(measure="RSS of the supervisor (3 API servers, control plane), idle", value=_resident(mesh))
    mesh.store([issuer_policy(ISSUERS[0])])
    for own_labels, name in ((False, "1 class"), (True, f"{ROUTES:,} classes")):
        mesh.set_routes(RouteShape(routes=ROUTES, own_labels=own_labels))
        yield Row(measure=f"  with {ROUTES:,} routes ({name})", value=_resident(mesh))
    yield Row(measure="RSS of the client's sidecar with these", value=mebibytes(mesh.sidecar.memory_info().rss))


def _resident(mesh: Mesh) -> str:
    return mebibytes(mesh.supervisor.memory_info().rss)
