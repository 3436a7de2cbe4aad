"""Selection: a mesh with only some of its sample apps."""

from __future__ import annotations

import difflib

import msgspec

from meshpass.errors import LocalMeshError
from meshpass.localmesh.meshfile import LocalMesh


def keep_apps(mesh: LocalMesh, names: tuple[str, ...] | None) -> LocalMesh:
    """The mesh without the workloads of other sample apps than these; None keeps all.

    Workloads without a sample app stay: clients, gateways, the user's own programs. Raises LocalMeshError for a name
    that no workload of the mesh has as its ``app``.
    """
    if names is None:
        return mesh
    known = [app.value for app in mesh.apps]
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            there = f"its sample apps: {', '.join(known) or 'none'}"
            raise LocalMeshError(
                f"the mesh file has no sample app {name or repr(name)}",
                hint=f"did you mean {close[0]}? {there}" if close else there,
            )
    kept = tuple(one for one in mesh.workloads if one.app is None or one.app.value in names)
    return msgspec.structs.replace(mesh, workloads=kept)
